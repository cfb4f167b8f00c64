"""The candidates for a claim: each user with runnable jobs of a kind, their service and caps.

Reading them takes one index look-up per user, however many jobs wait.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Self

from sqlalchemy import BindParameter, Connection, bindparam, select, text

from shared.prepared import Prepared
from shared.scheduling.accounting import RunningTraining, decayed, held_today, used_today
from shared.scheduling.groups import GroupRoom, cap_of_member, groups_of, is_over, rooms_of
from shared.settings import Settings
from shared.tables import RUNNABLE, Job, Kind, User


@dataclass(frozen=True, slots=True)
class Candidate:
    """A user with runnable jobs of a kind.

    Attributes:
        job_id: The best of the jobs; empty if there is none.
        service: Device-seconds that the user was served.
        share: What the service is divided by.
        charge_seconds: By how much each further job raises the service.
        max_running: How many of the user's jobs may run at once; None for any number.
        slots: How many more of them may run at once.
        seconds: What is left of the user's device time today.
        rooms: What the caps of the user's groups leave for all their members.
        is_over: The user was made for groups that have all ended, so that nothing runs.
        job_count: How many jobs; a claim, which needs only the best one, leaves it at 1.
    """

    user_id: str
    job_id: str
    service: float
    share: float
    charge_seconds: float
    max_running: int | None
    slots: float
    seconds: float
    rooms: tuple[GroupRoom, ...] = ()
    is_over: bool = False
    job_count: int = 1

    @property
    def may_run(self) -> bool:
        """Whether no cap stops the user."""
        return self.slots > 0 and self.has_seconds and all(room.slots > 0 for room in self.rooms)

    @property
    def has_seconds(self) -> bool:
        """Whether device time is left today, of the user's and of the groups' own."""
        return self.seconds > 0 and all(room.seconds > 0 for room in self.rooms)

    @property
    def weight(self) -> float:
        """What orders the users; the lowest goes first."""
        return self.service / self.share

    @property
    def step(self) -> float:
        """By how much each further job raises the weight."""
        return self.charge_seconds / self.share

    def after_claim(self) -> Self:
        """The candidate once one more of the jobs is claimed."""
        return replace(
            self,
            service=self.service + self.charge_seconds,
            seconds=self.seconds - self.charge_seconds,
            slots=self.slots - 1,
        )

    def without_room(self) -> GroupRoom | None:
        """The first group whose caps stop the user; None if none does."""
        full = (room for room in self.rooms if room.slots <= 0 or room.seconds <= 0)
        return next(full, None)

    def jobs_ahead_of(self, other: "Candidate", rank: int) -> int:
        """How many of this user's jobs go before a job of another user.

        Args:
            other: The other user; both may run, or neither.
            rank: How many of the other user's own jobs go before that job.
        """
        steps = (other.weight + rank * other.step - self.weight) / self.step
        if steps < 0:
            return 0
        wins_tie = steps == int(steps) and self.job_id < other.job_id
        return min(self.job_count, math.ceil(steps) + wins_tie)


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of the scheduling policy.

    Attributes:
        quantum_seconds: After this time a training yields to a less served user.
        charge_seconds: Device time charged at a claim: the quantum, or a slot's share of it.
        device_slots: Into how many slots the device is divided.
        half_life_seconds: The time in which service decays to half.
        max_running: How many trainings of one user may run at once, by default. None for no cap
            (`generate`, whose jobs are short).
        day_seconds: Device time of one user per day, by default. None for no cap.
    """

    quantum_seconds: float
    charge_seconds: float
    half_life_seconds: float
    max_running: int | None
    day_seconds: float | None
    device_slots: int = 1

    @classmethod
    def of(cls, settings: Settings, kind: Kind, slots: float = 1, device_slots: int = 1) -> Self:
        """Take the numbers from the settings.

        Args:
            settings: Of this process.
            kind: ``train`` or ``generate``.
            slots: How many jobs share a worker.
            device_slots: How many workers share a device.
        """
        return cls(
            quantum_seconds=settings.quantum_seconds,
            charge_seconds=settings.quantum_seconds / (slots * device_slots),
            half_life_seconds=settings.half_life_seconds,
            max_running=settings.max_running_per_user if kind == "train" else None,
            day_seconds=settings.max_device_seconds_per_day,
            device_slots=device_slots,
        )


def claim_job_of(candidates: dict[str, Candidate], user_id: str) -> None:
    """Count a claimed job of a user, and in the caps of the groups that others share."""
    claimed = candidates[user_id].after_claim()
    candidates[user_id] = claimed
    rooms = {room.group_id: room.after_claim(claimed.charge_seconds) for room in claimed.rooms}
    for other in list(candidates.values()) if rooms else ():
        shared = tuple(rooms.get(room.group_id, room) for room in other.rooms)
        candidates[other.user_id] = replace(other, rooms=shared)


def read_candidates_ahead(connection: Connection, kind: Kind) -> None:
    """Send what `candidates_of` will read first."""
    _users_with_best_job().ahead(connection, {"kind": kind})


def candidates_of(
    connection: Connection,
    kind: Kind,
    rules: Rules,
    running: Iterable[RunningTraining],
    now: datetime,
) -> list[Candidate]:
    """Read all users with runnable jobs of a kind, including those whom a cap stops.

    Args:
        connection: In the claim's transaction.
        kind: ``train`` or ``generate``.
        rules: The numbers of the policy.
        running: From `shared.scheduling.accounting.running_trainings`.
        now: The time.
    """
    running = list(running)
    users = _users_with_best_job().all(connection, {"kind": kind})
    rows = [row for row in users if row.job_id is not None]
    over = _over_seconds(running)
    count = Counter(training.user_id for training in running)
    groups = groups_of(connection, [row.id for row in rows], now)
    capped = (
        rules.day_seconds is not None
        or bool(groups)
        or any(row.max_device_seconds_per_day is not None for row in rows)
    )
    held = held_today(connection, running) if capped else {}
    rooms = rooms_of(connection, kind, groups, running, held, now)
    candidates = []
    for row in rows:
        of_user = groups.get(row.id, ())
        most = _max_running(row, rules, of_user)
        candidates.append(
            Candidate(
                user_id=row.id,
                job_id=row.job_id,
                service=_decayed_service(row, rules, now) + over[row.id],
                share=row.share,
                charge_seconds=rules.charge_seconds,
                max_running=most,
                slots=math.inf if most is None else most - count[row.id],
                seconds=_seconds_left(row, rules, of_user, held.get(row.id, 0.0), now),
                rooms=_rooms(rooms, of_user),
                is_over=is_over(row, of_user),
            )
        )
    return candidates


def owners_of(
    connection: Connection, running: list[RunningTraining], rules: Rules, now: datetime
) -> dict[str, Candidate]:
    """Read the users of running trainings, whether or not they have more jobs, by id."""
    ids = {training.user_id for training in running}
    held = held_today(connection, running)
    over = _over_seconds(running)
    rows = connection.execute(select(User.__table__).where(User.id.in_(ids)))
    groups = groups_of(connection, ids, now)
    rooms = rooms_of(connection, "train", groups, running, held, now)
    return {
        row.id: Candidate(
            user_id=row.id,
            job_id="",
            service=_decayed_service(row, rules, now) + over[row.id],
            share=row.share,
            charge_seconds=rules.charge_seconds,
            max_running=None,
            slots=0,
            seconds=_seconds_left(row, rules, groups.get(row.id, ()), held.get(row.id, 0.0), now),
            rooms=_rooms(rooms, groups.get(row.id, ())),
            job_count=0,
        )
        for row in rows
    }


def _over_seconds(running: Iterable[RunningTraining]) -> defaultdict[str, float]:
    over: defaultdict[str, float] = defaultdict(float)
    for training in running:
        over[training.user_id] += training.over_seconds
    return over


def _decayed_service(row: Any, rules: Rules, now: datetime) -> float:
    return decayed(row.served_seconds, row.served_at, now, rules.half_life_seconds)


def _max_running(row: Any, rules: Rules, groups: Sequence[Any]) -> int | None:
    if rules.max_running is None:
        return None
    return int(_cap(row, "max_running", rules.max_running, groups))


def _seconds_left(
    row: Any, rules: Rules, groups: Sequence[Any], held: float, now: datetime
) -> float:
    most = _cap(row, "max_device_seconds_per_day", rules.day_seconds, groups)
    return (
        math.inf if most is None else most - used_today(row.used_seconds, row.used_on, now) - held
    )


def _cap(row: Any, field: str, default: Any, groups: Sequence[Any]) -> Any:
    """A user's own cap, or else that of the user's groups, or else the default."""
    own = getattr(row, field)
    if own is not None:
        return own
    if groups:
        return cap_of_member(groups, field, default)
    return 0 if is_over(row, groups) else default


def _rooms(rooms: Mapping[str, GroupRoom], groups: Sequence[Any]) -> tuple[GroupRoom, ...]:
    return tuple(rooms[group.id] for group in groups if group.id in rooms)


@cache
def _users_with_best_job() -> Prepared:
    """Build the query of all enabled users, each with the best runnable job of `kind` or null.

    It takes one index look-up per user. A join of users and queued jobs would read every queued
    row: with 100,000 of them it is a hundred times slower.
    """
    users, jobs = User.__table__, Job.__table__.alias()
    kind: BindParameter[Kind] = bindparam("kind")
    best = (
        select(jobs.c.id)
        .where(jobs.c.kind == kind, jobs.c.user_id == users.c.id, text(RUNNABLE))
        .order_by(jobs.c.priority, jobs.c.id)
        .limit(1)
        .correlate(users)
        .scalar_subquery()
    )
    return Prepared(
        select(
            users.c.id,
            best.label("job_id"),
            users.c.max_running,
            users.c.max_queued,
            users.c.max_device_seconds_per_day,
            users.c.served_seconds,
            users.c.served_at,
            users.c.used_seconds,
            users.c.used_on,
            users.c.share,
            users.c.teacher_id,
        ).where(users.c.disabled_at.is_(None))
    )
