"""What the parts of the front expect of each other, and of the application."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from api.front.limits import FrontLimits
from api.front.slots import Slot

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]


class Task(Protocol):
    """Something that runs on a thread, in a slot of its sender's."""

    slot: Slot

    @property
    def sender(self) -> str:
        """Whose it is: senders take turns."""

    def service(self) -> None:
        """Run, and give the slot back."""


class EventLoop(Protocol):
    """What a connection needs of the server that it belongs to."""

    limits: FrontLimits
    policy: "HeadPolicy"

    def add_task(self, task: Task) -> None:
        """Run `task.service()` on a thread."""

    def changed(self, connection: Any) -> None:
        """Look at what a connection waits for now."""

    def closing_soon(self, channel: Any) -> None:
        """Wait no more for a connection that is about to be closed."""

    def count(self, what: str) -> None:
        """Count a connection that was closed."""

    def is_pending(self, connection: Any) -> None:
        """Note that a connection waits for a request."""

    def is_busy(self, connection: Any) -> None:
        """Note that a connection has a whole request."""

    def is_gone(self, connection: Any) -> None:
        """Note that a connection is closed."""


class HeadPolicy(Protocol):
    """Decides from the head whether a body is worth reading."""

    def body_limit(self, method: str, path: str) -> int:
        """The most bytes that the body of such a request may have. Called on the event loop."""

    def admits(self, environ: Environ) -> bool:
        """Whether the application would read the body. Called on a thread; may ask the database.

        A request that is not admitted reaches the application without its body, and is refused by
        it: an unknown address, a missing or unknown key.
        """

    def refused(self, status: int, address: str) -> None:
        """Note that the front itself has refused a request. Called on the event loop too."""
