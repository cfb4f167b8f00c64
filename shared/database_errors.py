"""Database failures in plain words, which reveal no address and no driver."""

#: Fragments of both drivers' messages, with what they mean.
_FAILURES = {
    "locked": "the database is busy with another write",
    "disk is full": "the server's disk is full; its admin must free space",
    "no space left": "the server's disk is full; its admin must free space",
    "disk i/o error": "the server's disk is full or failing; its admin must check it",
}


def describe_failure(reason: str) -> str:
    """Describe a database failure, given the message of its driver."""
    lowered = reason.lower()
    for fragment, description in _FAILURES.items():
        if fragment in lowered:
            return description
    return "the database does not respond"
