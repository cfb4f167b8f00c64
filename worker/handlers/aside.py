"""Work that is done on another thread while its owner goes on: one call at a time, in order."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import Self


class Aside:
    """Makes calls beside the thread that asks for them.

    An error of a call is raised by the next use, once: the owner learns of it no later than with
    its next call, and at the end.

    Args:
        name: The thread's name.
        inline: Make each call at once, on the thread that asks.
    """

    def __init__(self, name: str, *, inline: bool = False) -> None:
        self._pool = None if inline else ThreadPoolExecutor(1, thread_name_prefix=name)
        self._call: Future[object] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the last call; its error takes the place of one that is under way."""
        try:
            self.wait()
        finally:
            if self._pool is not None:
                self._pool.shutdown()

    def run(self, call: Callable[[], object]) -> None:
        """Make a call, after the one before it has ended.

        Raises:
            Exception: What the call before has raised; or this one, inline.
        """
        self.wait()
        if self._pool is None:
            call()
        else:
            # The names of the job stand in the context, for the log.
            self._call = self._pool.submit(copy_context().run, call)

    def offer(self, call: Callable[[], object]) -> bool:
        """Make a call unless one is being made; return whether it is made.

        Raises:
            Exception: As for `run`.
        """
        if self._call is not None and not self._call.done():
            return False
        self.run(call)
        return True

    def wait(self) -> None:
        """Return once no call is being made.

        Raises:
            Exception: What the call has raised.
        """
        last, self._call = self._call, None
        if last is not None:
            last.result()
