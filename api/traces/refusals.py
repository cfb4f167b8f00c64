"""Refused requests: the log and the audit get sums of a flood, not a line for each request.

In each minute the first refusals of an address are logged as they are; the others are counted, and
logged as one line for each status and address. Refused sign-ins are counted for the audit, in one
row for each address and minute.
"""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from api.traces.deferred import Deferred
from shared.audit import ADDRESS_CHARACTERS, count_refused_sign_ins

#: What is counted: refusals that cost the sender nothing.
COUNTED = frozenset({400, 401, 404, 405, 408, 413, 429, 431})
WINDOW_SECONDS = 60.0
#: Refusals of one status and address that are logged one by one in a minute.
LOGGED_EACH = 5
#: Addresses that are told apart in a minute; the others are one.
MOST_ADDRESSES = 100
OTHERS = "other addresses"
#: Prefixes of keys that are kept of one address in a minute.
MOST_PREFIXES = 10

log = structlog.get_logger("api.request")


@dataclass(slots=True)
class _SignIns:
    """The refused sign-ins of an address in a minute."""

    reasons: Counter[str] = field(default_factory=Counter)
    prefixes: list[str] = field(default_factory=list)


class Refusals:
    """Counts refused requests by status and address, and refused sign-ins by reason.

    Args:
        sessions: To write the audit with.
    """

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        self._lock = threading.Lock()
        self._window = 0
        self._requests: Counter[tuple[int, str]] = Counter()
        self._addresses: set[str] = set()
        self._sign_ins: dict[tuple[str, datetime], _SignIns] = {}
        self._flushing = Deferred(self.flush, WINDOW_SECONDS)

    def is_logged(self, status: int, address: str | None, now: float | None = None) -> bool:
        """Count a refused request.

        Returns:
            Whether to log it as it is: a later one of its minute is part of a sum.
        """
        if status not in COUNTED:
            return True
        window = int((time.monotonic() if now is None else now) // WINDOW_SECONDS)
        with self._lock:
            ended = self._end_window() if window != self._window else []
            self._window = window
            place = (status, self._name(address))
            self._requests[place] += 1
            count = self._requests[place]
        _log_sums(ended)
        if count > LOGGED_EACH:
            self._flushing.schedule()
        return count <= LOGGED_EACH

    def sign_in(self, reason: str, prefix: str | None, address: str | None) -> None:
        """Count a refused sign-in for the audit.

        Args:
            reason: Why it was refused.
            prefix: The prefix of the key that was presented, if it had the form of one.
            address: From where it came.
        """
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        with self._lock:
            found = self._sign_ins.setdefault((self._name(address), minute), _SignIns())
            found.reasons[reason] += 1
            if prefix and prefix not in found.prefixes and len(found.prefixes) < MOST_PREFIXES:
                found.prefixes.append(prefix)
        self._flushing.schedule()

    def flush(self) -> None:
        """Log the sums so far, and write the refused sign-ins."""
        with self._lock:
            ended = self._end_window()
        _log_sums(ended)
        self.write_sign_ins()

    def write_sign_ins(self) -> None:
        """Write the refused sign-ins that were counted so far."""
        with self._lock:
            sign_ins, self._sign_ins = self._sign_ins, {}
        if not sign_ins:
            return
        try:
            with self._sessions.begin() as session:
                for (address, minute), found in sorted(sign_ins.items()):
                    count_refused_sign_ins(session, address, minute, found.reasons, found.prefixes)
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).strip()
            total = sum(found.reasons.total() for found in sign_ins.values())
            log.warning("refused_sign_ins_not_written", count=total, reason=reason)

    def cancel(self) -> None:
        """Write nothing of what was counted, for the database's connections are closed."""
        self._flushing.cancel()

    def close(self) -> None:
        """Log and write what was counted."""
        self._flushing.close()

    def _name(self, address: str | None) -> str:
        address = (address or "unknown")[:ADDRESS_CHARACTERS]
        if address not in self._addresses:
            if len(self._addresses) >= MOST_ADDRESSES:
                return OTHERS
            self._addresses.add(address)
        return address

    def _end_window(self) -> list[tuple[int, str, int]]:
        """Begin to count anew; return what the log has not been told."""
        sums = [
            (status, address, count - LOGGED_EACH)
            for (status, address), count in self._requests.items()
            if count > LOGGED_EACH
        ]
        self._requests.clear()
        self._addresses.clear()
        return sums


def _log_sums(sums: list[tuple[int, str, int]]) -> None:
    for status, address, count in sums:
        log.warning("requests_refused", status=status, address=address, count=count)
