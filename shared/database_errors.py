"""What ails a database, in words that tell no address and need no knowledge of its driver."""

#: By what the drivers of both databases say.
_AILMENTS = {
    "locked": "the database is busy with another's write",
    "disk is full": "the server's disk is full, its admin has to make room",
    "no space left": "the server's disk is full, its admin has to make room",
    "disk i/o error": "the server's disk fails or is full, its admin has to look at it",
}


def ailment(reason: str) -> str:
    """Why a statement failed for which the database is to blame, given what its driver said."""
    lowered = reason.lower()
    for words, found in _AILMENTS.items():
        if words in lowered:
            return found
    return "the database does not answer"
