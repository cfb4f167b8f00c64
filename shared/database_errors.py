"""Database failures: which only concern locks, and all in plain words without driver's terms."""

from sqlalchemy.exc import DBAPIError

#: Fragments of both drivers' messages, with what they mean.
_FAILURES = {
    "locked": "the database is busy with another write",
    "disk is full": "the server's disk is full; its admin must free space",
    "no space left": "the server's disk is full; its admin must free space",
    "disk i/o error": "the server's disk is full or failing; its admin must check it",
}
#: Of PostgreSQL: a lock that was not free in time, a deadlock, a conflict of snapshots.
_LOCK_STATES = frozenset({"55P03", "40P01", "40001"})


def is_lock_conflict(error: DBAPIError) -> bool:
    """Return whether another transaction stood in the way: nothing was written, try again."""
    return getattr(error.orig, "sqlstate", None) in _LOCK_STATES


def describe_failure(reason: str) -> str:
    """Describe a database failure, given the message of its driver."""
    lowered = reason.lower()
    for fragment, description in _FAILURES.items():
        if fragment in lowered:
            return description
    return "the database does not respond"
