"""Send what the outbox holds: claim a row, try, and write what came of it.

Several couriers may run: a try is claimed by one conditional UPDATE. A courier that dies in a try
leaves a row that is due again after `CLAIM`, so a message may come twice, with the same id.
"""

import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.clock import Clock, database_now
from shared.notifications.addresses import AddressPolicy
from shared.notifications.mail import MailServer
from shared.notifications.signing import secrets_of, signatures
from shared.notifications.webhook import GONE, Outcome
from shared.notifications.webhook import send as send_webhook
from shared.tables import PENDING, Delivery, DeliveryTry, Notification, User

#: How long a try may take before another courier makes it. Longer than any try.
CLAIM = timedelta(seconds=90)
#: The pauses before each further try, in seconds; three days in all.
RETRY_SECONDS = (5, 60, 300, 1800, 7200, 18_000, 36_000, 57_600, 57_600, 86_400)
#: So that what failed together is not tried together.
JITTER = 0.1
POLL_SECONDS = 2.0
#: How long the pause becomes while the database is away.
AWAY_SECONDS = 10.0
SENDERS = 4
#: How soon a courier that is told to stop leaves its tries behind.
STOP_SECONDS = 0.25
#: How long it is known what was sent; what belongs to a job goes with it.
KEPT = timedelta(days=30)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Due:
    """A delivery that this courier has claimed."""

    id: str
    user_id: str
    kind: str
    target: str
    event: str
    payload: dict[str, Any]
    number: int
    notification_id: str | None
    secrets: tuple[str, ...]


class Courier:
    """Sends deliveries until it is stopped. It never holds a transaction while it sends.

    Args:
        engine: The database.
        policy: Where webhooks may go.
        mail_server: Where mails are handed in; None if the server sends none.
        retry_seconds: The pauses between tries.
        clock: Tells the time; the database's own clock by default.
    """

    def __init__(
        self,
        engine: Engine,
        policy: AddressPolicy,
        mail_server: MailServer | None,
        *,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        clock: Clock = database_now,
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._mail_server = mail_server
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._swept_at: datetime | None = None

    def run(self, stopping: threading.Event) -> None:
        """Send what is due, until `stopping` is set."""
        pause = POLL_SECONDS
        while not stopping.wait(pause):
            try:
                pause = 0.0 if self.send_due(stopping) else POLL_SECONDS
                self._sweep()
            except (DBAPIError, PoolTimeout) as error:
                pause = AWAY_SECONDS
                log.warning("courier_waits", reason=type(error).__name__)

    def send_due(self, stopping: threading.Event | None = None) -> int:
        """Send one message of each of some users, at the same time; return how many.

        Args:
            stopping: Once it is set, tries that are under way are left behind: they are due again.
        """
        claimed = self._claim()
        # Daemons, so that a slow address does not hold up the end of the process.
        senders = [
            threading.Thread(target=self._deliver, args=(due,), name="courier-send", daemon=True)
            for due in claimed
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            while sender.is_alive() and not (stopping is not None and stopping.is_set()):
                sender.join(STOP_SECONDS)
        return len(claimed)

    def _claim(self) -> list[_Due]:
        with self._engine.connect() as connection:
            now = self._clock(connection)
            is_due = (text(PENDING), Delivery.next_try_at <= now)
            oldest = func.min(Delivery.next_try_at)
            users = connection.scalars(
                select(Delivery.user_id)
                .where(*is_due)
                .group_by(Delivery.user_id)
                .order_by(oldest)
                .limit(SENDERS)
            ).all()
            first = select(Delivery.id, Delivery.next_try_at).where(*is_due).limit(1)
            first = first.order_by(Delivery.next_try_at, Delivery.id)
            rows = [
                connection.execute(first.where(Delivery.user_id == user)).first() for user in users
            ]
        claimed = []
        for row in filter(None, rows):  # another courier may have taken one meanwhile
            with self._engine.begin() as connection:
                due = self._claim_one(connection, row)
            if due is not None:
                claimed.append(due)
        return claimed

    def _claim_one(self, connection: Connection, row: Any) -> _Due | None:
        now = self._clock(connection)
        taken = connection.execute(
            update(Delivery)
            .where(
                Delivery.id == row.id,
                Delivery.status == "pending",
                Delivery.next_try_at == row.next_try_at,
            )
            .values(next_try_at=now + CLAIM, tries=Delivery.tries + 1)
        )
        if taken.rowcount == 0:
            return None
        found = connection.execute(
            select(Delivery, User.disabled_at)
            .join(User, Delivery.user_id == User.id)
            .where(Delivery.id == row.id)
        ).one()
        if found.disabled_at is not None:
            self._end(connection, row.id, "failed", now)
            return None
        secrets: list[str] = []
        if found.kind == "webhook":
            secrets = secrets_of(connection, found.user_id, now)
        return _Due(
            id=found.id,
            user_id=found.user_id,
            kind=found.kind,
            target=found.target,
            event=found.event,
            payload=found.payload,
            number=found.tries,
            notification_id=found.notification_id,
            secrets=tuple(secrets),
        )

    def _deliver(self, due: _Due) -> None:
        started = time.monotonic()
        outcome = self._try(due)
        seconds = time.monotonic() - started
        try:
            with self._engine.begin() as connection:
                self._record(connection, due, outcome, seconds)
        except (DBAPIError, PoolTimeout) as error:
            # The row is due again once its claim ends.
            log.warning("delivery_not_recorded", delivery=due.id, reason=type(error).__name__)

    def _try(self, due: _Due) -> Outcome:
        if due.kind == "mail":
            if self._mail_server is None:
                return Outcome(None, "this server sends no mail (QUIRE_SMTP_URL)", is_final=True)
            return self._mail_server.send(due.target, due.event, due.payload, due.id)
        body = json.dumps(due.payload, separators=(",", ":"), ensure_ascii=False).encode()
        message_id, timestamp = f"msg_{due.id.replace('-', '')}", int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": _user_agent(),
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures(due.secrets, message_id, timestamp, body),
        }
        return send_webhook(due.target, body, headers, self._policy)

    def _record(self, connection: Connection, due: _Due, outcome: Outcome, seconds: float) -> None:
        now = self._clock(connection)
        pauses = self._retry_seconds
        if outcome.error is None:
            mine = self._end(connection, due.id, "delivered", now, due.number)
        elif outcome.is_final or due.number > len(pauses):
            mine = self._end(connection, due.id, "failed", now, due.number)
            log.info("delivery_failed", delivery=due.id, tries=due.number, reason=outcome.error)
        else:
            pause = pauses[due.number - 1] * (1 + random.uniform(0, JITTER))  # noqa: S311
            mine = self._write(
                connection, due.id, due.number, next_try_at=now + timedelta(seconds=pause)
            )
        if not mine:
            return
        values = {"delivery_id": due.id, "number": due.number, "at": now, "seconds": seconds}
        connection.execute(
            insert(DeliveryTry).values(
                **values, status_code=outcome.status_code, error=outcome.error
            )
        )
        if outcome.status_code == GONE and due.kind == "webhook":
            connection.execute(delete(Notification).where(Notification.id == due.notification_id))

    def _end(
        self,
        connection: Connection,
        delivery_id: str,
        status: str,
        now: datetime,
        number: int | None = None,
    ) -> bool:
        values = {"status": status, "ended_at": now, "next_try_at": None}
        return self._write(connection, delivery_id, number, **values)

    def _write(
        self, connection: Connection, delivery_id: str, number: int | None, **values: object
    ) -> bool:
        """Write a delivery, unless another courier has taken the try over."""
        statement = update(Delivery).where(Delivery.id == delivery_id, text(PENDING))
        if number is not None:
            statement = statement.where(Delivery.tries == number)
        return connection.execute(statement.values(**values)).rowcount > 0

    def _sweep(self) -> None:
        """Forget tests of long ago, once an hour."""
        with self._engine.begin() as connection:
            now = self._clock(connection)
            if self._swept_at is not None and now - self._swept_at < timedelta(hours=1):
                return
            old = Delivery.created_at < now - KEPT
            connection.execute(delete(Delivery).where(Delivery.job_id.is_(None), old))
        self._swept_at = now


def _user_agent() -> str:
    try:
        return f"Quire/{version('quire')}"
    except PackageNotFoundError:
        return "Quire"
