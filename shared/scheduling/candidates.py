"""Those who wait: each user with runnable work of a kind, what they were served, and their caps.

One index look-up per user, whatever waits behind.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, select, text

from shared.scheduling.accounting import RunningTraining, decayed, held_today, used_today
from shared.settings import Settings
from shared.tables import RUNNABLE, Job, Kind, User


@dataclass(slots=True)
class Candidate:
    """A user with runnable work of a kind.

    Attributes:
        job_id: The best of it.
        service: Device-seconds that they have been served.
        share: What their service is divided by.
        max_running: How many jobs of theirs may run at once; None: any number.
        slots: How many more jobs of theirs may run at once.
        seconds: What is left of their day's device time.
    """

    user_id: str
    job_id: str
    service: float
    share: float
    max_running: int | None
    slots: float
    seconds: float

    @property
    def may_run(self) -> bool:
        """Whether no cap stands in the way."""
        return self.slots > 0 and self.seconds > 0

    @property
    def weight(self) -> float:
        """What orders the line: who has least goes first."""
        return self.service / self.share

    def take(self, seconds: float) -> None:
        """Count a job that is about to run."""
        self.service += seconds
        self.seconds -= seconds
        self.slots -= 1


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of fairness.

    Attributes:
        quantum_seconds: After which a training yields to somebody less served.
        charge_seconds: Device time charged at a claim: the quantum, or a slot's part of it.
        half_life_seconds: In which a charge counts half.
        max_running: Running `train` jobs of one user at once, unless the user has a cap of
            their own. None: no cap (`generate`, whose jobs are short).
        day_seconds: Device time of one user in a day, unless the user has a cap of their own.
    """

    quantum_seconds: float
    charge_seconds: float
    half_life_seconds: float
    max_running: int | None
    day_seconds: float | None

    @classmethod
    def of(cls, settings: Settings, kind: Kind, slots: int = 1) -> "Rules":
        """The numbers as the settings have them.

        Args:
            settings: Of this process.
            kind: ``train`` or ``generate``.
            slots: How many jobs share a device.
        """
        return cls(
            quantum_seconds=settings.quantum_seconds,
            charge_seconds=settings.quantum_seconds / slots,
            half_life_seconds=settings.half_life_seconds,
            max_running=settings.max_running_per_user if kind == "train" else None,
            day_seconds=settings.max_device_seconds_per_day,
        )


def candidates_of(
    connection: Connection,
    kind: Kind,
    rules: Rules,
    running: Iterable[RunningTraining],
    now: datetime,
) -> list[Candidate]:
    """Everybody with runnable work of a kind, capped or not.

    Args:
        connection: In the claim's transaction.
        kind: ``train`` or ``generate``.
        rules: The numbers.
        running: From `shared.scheduling.accounting.running_trainings`.
        now: The time.
    """
    running = list(running)
    rows = [row for row in connection.execute(_line(), {"kind": kind}) if row.job_id is not None]
    over: defaultdict[str, float] = defaultdict(float)
    for training in running:
        over[training.user_id] += training.over_seconds
    count = Counter(training.user_id for training in running)
    capped = rules.day_seconds is not None or any(
        row.max_device_seconds_per_day is not None for row in rows
    )
    held = held_today(connection, running) if capped else {}
    found = []
    for row in rows:
        most = _max_running(row, rules)
        served = decayed(row.served_seconds, row.served_at, now, rules.half_life_seconds)
        found.append(
            Candidate(
                user_id=row.id,
                job_id=row.job_id,
                service=served + over[row.id],
                share=row.share,
                max_running=most,
                slots=math.inf if most is None else most - count[row.id],
                seconds=_seconds_left(row, rules, held.get(row.id, 0.0), now),
            )
        )
    return found


def _max_running(row: Any, rules: Rules) -> int | None:
    if rules.max_running is None or row.max_running is None:
        return rules.max_running
    return int(row.max_running)


def _seconds_left(row: Any, rules: Rules, held: float, now: datetime) -> float:
    own = row.max_device_seconds_per_day
    most = rules.day_seconds if own is None else own
    return (
        math.inf if most is None else most - used_today(row.used_seconds, row.used_on, now) - held
    )


def owners_of(
    connection: Connection, running: list[RunningTraining], rules: Rules, now: datetime
) -> dict[str, Candidate]:
    """The users of the trainings that run, whether they have more work or not."""
    ids = {training.user_id for training in running}
    held = held_today(connection, running)
    over: defaultdict[str, float] = defaultdict(float)
    for training in running:
        over[training.user_id] += training.over_seconds
    rows = connection.execute(select(User.__table__).where(User.id.in_(ids)))
    return {
        row.id: Candidate(
            user_id=row.id,
            job_id="",
            service=decayed(row.served_seconds, row.served_at, now, rules.half_life_seconds)
            + over[row.id],
            share=row.share,
            max_running=None,
            slots=0,
            seconds=_seconds_left(row, rules, held.get(row.id, 0.0), now),
        )
        for row in rows
    }


@cache
def _line() -> Select[Any]:
    """Every user with a runnable job of `kind`, and the best of it.

    Built once: writing the statement down takes SQLAlchemy longer than the database takes to
    answer it. One index look-up per user. A join of users and queued jobs reads every queued
    row: over 100,000 of them it is a hundred times slower.
    """
    users, line = User.__table__, Job.__table__.alias()
    kind: BindParameter[Kind] = bindparam("kind")
    best = (
        select(line.c.id)
        .where(line.c.kind == kind, line.c.user_id == users.c.id, text(RUNNABLE))
        .order_by(line.c.priority, line.c.id)
        .limit(1)
        .correlate(users)
        .scalar_subquery()
    )
    return select(
        users.c.id,
        best.label("job_id"),
        users.c.max_running,
        users.c.max_device_seconds_per_day,
        users.c.served_seconds,
        users.c.served_at,
        users.c.used_seconds,
        users.c.used_on,
        users.c.share,
    ).where(users.c.disabled_at.is_(None))
