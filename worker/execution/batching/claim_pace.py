"""How often a busy batch runner looks for new jobs."""

import time
from collections.abc import Callable

#: The pause between two looks while the engine has room and there are jobs, or while somebody asks
#: for little.
CLAIM_SECONDS = 0.004
#: The pause while the engine is full: more jobs are claimed at once then. Looks that find nothing
#: become this rare, too.
FULL_CLAIM_SECONDS = 0.02


class ClaimPace:
    """Says when a busy batch runner should look again; an idle one is woken.

    Args:
        clock: The time in seconds, from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._claimed_at = clock()
        self._pause = CLAIM_SECONDS

    def is_due(self, *, is_full: bool, is_hurried: bool) -> bool:
        """Return whether to look now.

        Args:
            is_full: Whether the engine has all that it can advance at once.
            is_hurried: Whether somebody who asks for little did so a moment ago.
        """
        pause = FULL_CLAIM_SECONDS if is_full else self._pause
        if is_hurried:
            pause = CLAIM_SECONDS
        return self._clock() - self._claimed_at >= pause

    def note_claim(self, found: int) -> None:
        """Note the end of a look that has found so many jobs."""
        # A claim takes a while, and it is the time between two that matters.
        self._claimed_at = self._clock()
        self._pause = CLAIM_SECONDS if found else min(2 * self._pause, FULL_CLAIM_SECONDS)
