"""What the front asks of the application about a request of which only the head is there."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]


class HeadPolicy(Protocol):
    """Decides from the head whether a body is worth reading."""

    def body_limit(self, method: str, path: str) -> int:
        """The most bytes that the body of such a request may have. Called on the event loop."""

    def admits(self, environ: Environ) -> bool:
        """Whether the application would read the body. Called on a thread; may ask the database.

        A request that is not admitted reaches the application without its body, and is refused by
        it: an unknown address, a missing or unknown key.
        """
