"""When keys were last used: noted in memory, and written for all keys together."""

import threading
import time
from datetime import timedelta

import structlog
from sqlalchemy import Engine, or_, update
from sqlalchemy.exc import DBAPIError

from api.traces.deferred import Deferred
from shared.clock import database_now
from shared.tables import ApiKey

#: A key's use is written so often at most.
INTERVAL_SECONDS = 60.0
#: How long a use waits for those of other keys.
DELAY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class KeyUses:
    """Remembers which keys were used, and writes it outside of the requests.

    Args:
        engine: The database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: When a key's use was last noted to be written, by the key's id.
        self._noted_at: dict[str, float] = {}
        self._pending: set[str] = set()
        self._lock = threading.Lock()
        self._writing = Deferred(self.write, DELAY_SECONDS)

    def note(self, key_id: str, now: float | None = None) -> None:
        """Note that a key is used. Cheap, unless it is the first time in a minute."""
        now = time.monotonic() if now is None else now
        noted_at = self._noted_at.get(key_id)
        if noted_at is not None and now - noted_at < INTERVAL_SECONDS:
            return
        with self._lock:
            self._noted_at = {
                each: at for each, at in self._noted_at.items() if now - at < INTERVAL_SECONDS
            }
            self._noted_at[key_id] = now
            self._pending.add(key_id)
        self._writing.schedule()

    def write(self) -> None:
        """Write what is noted. Another process may have done so within the minute."""
        with self._lock:
            keys, self._pending = self._pending, set()
        if not keys:
            return
        try:
            with self._engine.begin() as connection:
                now = database_now(connection)
                old = now - timedelta(seconds=INTERVAL_SECONDS)
                connection.execute(
                    update(ApiKey)
                    .where(ApiKey.id.in_(sorted(keys)))
                    .where(or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= old))
                    .values(last_used_at=now)
                )
        except DBAPIError as error:
            # The next use is noted in a minute.
            log.warning("key_uses_not_written", reason=str(error.orig).strip())

    def cancel(self) -> None:
        """Write nothing of what is noted, for the database's connections are closed."""
        self._writing.cancel()

    def close(self) -> None:
        """Write what is noted, and note nothing more."""
        self._writing.close()
