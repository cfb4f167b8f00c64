"""When a device takes no jobs: broken before it computed, or quarantined for its errors.

Each change locks the device's row, because the workers of a device find its errors at once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, select

from shared.clock import Clock, database_now
from shared.database import reading
from shared.tables import DeviceHealth
from shared.upsert import insert_if_absent, insert_or_replace

#: The pause after a failed probe, doubled by each further one up to the longest.
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5.0, 600.0
REASON_CHARACTERS = 2000
#: Errors that are kept; a quarantine needs fewer.
KEPT_FAULTS = 50


@dataclass(frozen=True, slots=True)
class Quarantine:
    """When errors of a device quarantine it, and for how long.

    Attributes:
        faults: So many errors …
        window_seconds: … within so long.
        seconds: How long until it is probed.
        together_seconds: Errors within so long of one count with it as one.
    """

    faults: int
    window_seconds: float
    seconds: float
    together_seconds: float = 0.0

    def count(self, moments: Iterable[datetime]) -> int:
        """How many errors those at these moments are, which ascend."""
        count, first = 0, None
        for moment in moments:
            if first is None or (moment - first).total_seconds() >= self.together_seconds:
                count, first = count + 1, moment
        return count


@dataclass(frozen=True, slots=True)
class Health:
    """What is wrong with a device, and how long until it is probed again."""

    problem: str
    quarantined: bool
    seconds_left: float


def find_problem(
    engine: Engine, host: str, device: str, clock: Clock = database_now
) -> Health | None:
    """What is wrong with a device now; None if it may take jobs."""
    with reading(engine) as connection:
        row = connection.execute(
            select(DeviceHealth.problem, DeviceHealth.quarantined, DeviceHealth.retry_at).where(
                DeviceHealth.host == host,
                DeviceHealth.device == device,
                DeviceHealth.problem.is_not(None),
            )
        ).one_or_none()
        if row is None:
            return None
        left = (row.retry_at - clock(connection)).total_seconds()
    return Health(row.problem, row.quarantined, max(0.0, left))


def record_broken(
    engine: Engine, host: str, device: str, reason: str, clock: Clock = database_now
) -> None:
    """Note that a device failed its probe, or can't even be opened."""

    def change(row: DeviceHealth, now: datetime) -> None:
        pause = FIRST_RETRY_SECONDS * 2 ** min(row.failed_probes, 20)
        row.failed_probes += 1
        _set_problem(row, reason, now, min(pause, LONGEST_RETRY_SECONDS))

    _change(engine, host, device, change, clock)


def record_fault(
    engine: Engine,
    host: str,
    device: str,
    reason: str,
    rule: Quarantine,
    *,
    at_once: bool = False,
    clock: Clock = database_now,
) -> bool:
    """Note an error of a device.

    Args:
        engine: The database.
        host: The host's name.
        device: The device's name.
        reason: What happened.
        rule: When to quarantine.
        at_once: Quarantine it for this error alone: the driver itself reports it.
        clock: Tells the time.

    Returns:
        Whether the device is quarantined now.
    """

    def change(row: DeviceHealth, now: datetime) -> None:
        row.faults = [
            *row.faults[1 - KEPT_FAULTS :],
            {"at": now.isoformat(), "reason": _one_line(reason)},
        ]
        since = now - timedelta(seconds=rule.window_seconds)
        moments = (datetime.fromisoformat(each["at"]) for each in row.faults)
        recent = rule.count(moment for moment in moments if moment > since)
        if at_once or recent >= rule.faults:
            said = reason
            if recent > 1:
                said = f"{recent} errors in {rule.window_seconds:g} s, the last: {reason}"
            row.quarantined = True
            _set_problem(row, said, now, rule.seconds)

    return _change(engine, host, device, change, clock).quarantined


def record_sound(engine: Engine, host: str, device: str, clock: Clock = database_now) -> bool:
    """Note that a device passed its probe, and free it.

    Returns:
        Whether it had a problem.
    """
    if find_problem(engine, host, device, clock) is None:
        return False
    return free(engine, host, device, clock)


def free(engine: Engine, host: str, device: str, clock: Clock = database_now) -> bool:
    """Let a device take jobs again, and forget its errors.

    Returns:
        Whether it had a problem.
    """
    with engine.begin() as connection:
        return free_within(connection, host, device)


def free_within(connection: Connection, host: str, device: str) -> bool:
    """As `free`, in a transaction of the caller."""
    row = _locked(connection, host, device)
    if row is None:
        return False
    had_problem = row.problem is not None
    _write(connection, DeviceHealth(host=host, device=device, **_WELL))
    return had_problem


_WELL: Mapping[str, Any] = {
    "problem": None,
    "quarantined": False,
    "since": None,
    "retry_at": None,
    "failed_probes": 0,
    "faults": [],
}


def _change(
    engine: Engine,
    host: str,
    device: str,
    change: Callable[[DeviceHealth, datetime], None],
    clock: Clock,
) -> DeviceHealth:
    with engine.begin() as connection:
        insert_if_absent(connection, DeviceHealth, {"host": host, "device": device, **_WELL})
        row = _locked(connection, host, device)
        assert row is not None  # noqa: S101  # inserted above, and never deleted
        # The wait for the lock may have been long.
        change(row, clock(connection))
        _write(connection, row)
        return row


def _locked(connection: Connection, host: str, device: str) -> DeviceHealth | None:
    columns = DeviceHealth.__table__.columns
    found = connection.execute(
        select(*columns)
        .where(DeviceHealth.host == host, DeviceHealth.device == device)
        .with_for_update()
    ).one_or_none()
    return None if found is None else DeviceHealth(**found._mapping)


def _write(connection: Connection, row: DeviceHealth) -> None:
    values = {name: getattr(row, name) for name in DeviceHealth.__table__.columns.keys()}  # noqa: SIM118
    insert_or_replace(connection, DeviceHealth, values)


def _set_problem(row: DeviceHealth, problem: str, now: datetime, retry_seconds: float) -> None:
    if row.problem is None:
        row.since = now
    row.problem = _one_line(problem)
    row.retry_at = now + timedelta(seconds=retry_seconds)


def _one_line(reason: str) -> str:
    """A reason as it is stored; an error's text may hold anything, and PostgreSQL no NUL."""
    return " ".join(reason.replace("\x00", " ").split())[:REASON_CHARACTERS]
