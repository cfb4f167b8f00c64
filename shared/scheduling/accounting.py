"""Device time: what users are charged, what they have used today, and what runs now.

Service orders the users: it is charged at a claim, settled at the end of the run, and decays. Use
is what the daily cap counts: it is never charged in advance, never decays, and is reset at
midnight UTC.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from sqlalchemy import Connection, bindparam, func, select, text, update

from shared.counters import Tally
from shared.prepared import Prepared
from shared.tables import RUNNING, Job, User

#: Built once: building a statement takes SQLAlchemy longer than running it takes the database.
_ACCOUNTS = Prepared(
    select(User.id, User.served_seconds, User.served_at, User.used_seconds, User.used_on)
    .where(User.id.in_(bindparam("users", expanding=True)))
    .order_by(User.id)
    .with_for_update(key_share=True)
)
_POST = Prepared(update(User).where(User.id == bindparam("user")))
_TRAININGS = Prepared(
    select(
        Job.id,
        Job.user_id,
        Job.claimed_at,
        Job.charged_seconds,
        Job.device_slots,
        Job.lifted_at,
        Job.yield_requested_at,
        Job.pause_requested_at,
        Job.cancel_requested_at,
    ).where(text("kind = 'train'"), text(RUNNING))
)
_GENERATIONS = Prepared(
    select(Job.user_id, func.sum(Job.charged_seconds).label("charged_seconds"))
    .where(text("kind = 'generate'"), text(RUNNING))
    .group_by(Job.user_id)
)


@dataclass(frozen=True, slots=True)
class RunningTraining:
    """A training that holds a device, or a slot of one.

    Attributes:
        held_seconds: Since its claim.
        charged_seconds: At its claim.
        today_seconds: What it takes of the day's cap: the device time since its claim or midnight,
            or what it was charged, whichever is more.
        promoted: An admin put it ahead of others.
        leaving: It was asked to yield, pause or cancel.
        device_slots: It holds one of so many slots of its device.
    """

    job_id: str
    user_id: str
    held_seconds: float
    charged_seconds: float
    today_seconds: float
    promoted: bool
    leaving: bool
    device_slots: int = 1

    @property
    def over_seconds(self) -> float:
        """The device time that it has held beyond its charge."""
        return max(0.0, self.held_seconds / self.device_slots - self.charged_seconds)


@dataclass(slots=True)
class _Account:
    served: float = 0.0
    used: float = 0.0


class Ledger:
    """The charges and settlements of one transaction, and what it counts, written at its end.

    Attributes:
        tally: What it counts.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self._accounts: defaultdict[str, _Account] = defaultdict(_Account)

    def charge(self, user_id: str, seconds: float) -> None:
        """Charge device time in advance."""
        self._accounts[user_id].served += seconds

    def settle(
        self, user_id: str, charged: float, used: float, since: datetime, now: datetime
    ) -> None:
        """Replace a charge by the device time used.

        Args:
            user_id: The user charged.
            charged: Device-seconds charged at the claim.
            used: Device-seconds used; less than `now` − `since` if other jobs shared the device.
            since: When the job was claimed.
            now: When the run ended.
        """
        account = self._accounts[user_id]
        account.served += used - charged
        held = (now - since).total_seconds()
        today = (now - max(since, midnight(now))).total_seconds()
        account.used += used * (today / held if held > 0 else 1.0)

    def read_ahead(self, connection: Connection) -> None:
        """Send what `post` will read; the users are locked from now on."""
        if self._accounts:
            _ACCOUNTS.ahead(connection, {"users": list(self._accounts)})

    def post(self, connection: Connection, half_life_seconds: float, now: datetime) -> None:
        """Write the sums to the users' rows, and raise the counters."""
        self._post_accounts(connection, half_life_seconds, now)
        self.tally.post(connection)

    def _post_accounts(
        self, connection: Connection, half_life_seconds: float, now: datetime
    ) -> None:
        if not self._accounts:
            return
        # Every transaction locks users in the order of their ids, so that two can't deadlock.
        rows = _ACCOUNTS.all(connection, {"users": list(self._accounts)})
        posts = []
        for row in rows:
            account = self._accounts[row.id]
            served = decayed(row.served_seconds, row.served_at, now, half_life_seconds)
            used = used_today(row.used_seconds, row.used_on, now)
            posts.append(
                {
                    "user": row.id,
                    "served_seconds": max(0.0, served + account.served),
                    "served_at": now,
                    "used_seconds": used + account.used,
                    "used_on": now.date(),
                }
            )
        _POST.run(connection, *posts)


def decayed(
    seconds: float, since: datetime | None, now: datetime, half_life_seconds: float
) -> float:
    """Decay `seconds` of service charged at `since`."""
    if since is None:
        return seconds
    age = max(0.0, (now - since).total_seconds())
    return float(seconds * 0.5 ** (age / half_life_seconds))


def used_today(seconds: float, on: date | None, now: datetime) -> float:
    """Return `seconds` if they were used today, else 0."""
    return seconds if on == now.date() else 0.0


def midnight(now: datetime) -> datetime:
    """Midnight UTC of the day of `now`."""
    return datetime.combine(now.date(), time(), UTC)


def read_trainings_ahead(connection: Connection) -> None:
    """Send what `running_trainings` will read."""
    _TRAININGS.ahead(connection, {})


def running_trainings(connection: Connection, now: datetime) -> list[RunningTraining]:
    """Read the running trainings; there are at most as many as slots of devices."""
    trainings = []
    for row in _TRAININGS.all(connection, {}):
        held = max(0.0, (now - row.claimed_at).total_seconds())
        today = (now - max(row.claimed_at, midnight(now))).total_seconds()
        asked = (row.yield_requested_at, row.pause_requested_at, row.cancel_requested_at)
        trainings.append(
            RunningTraining(
                job_id=row.id,
                user_id=row.user_id,
                held_seconds=held,
                charged_seconds=row.charged_seconds,
                today_seconds=max(today / row.device_slots, row.charged_seconds),
                promoted=row.lifted_at is not None,
                leaving=any(moment is not None for moment in asked),
                device_slots=row.device_slots,
            )
        )
    return trainings


def held_today(connection: Connection, running: list[RunningTraining]) -> Mapping[str, float]:
    """Today's device-seconds of running jobs, which are not settled yet, by user."""
    held: defaultdict[str, float] = defaultdict(float)
    for training in running:
        held[training.user_id] += training.today_seconds
    for row in _GENERATIONS.all(connection, {}):
        held[row.user_id] += row.charged_seconds
    return held
