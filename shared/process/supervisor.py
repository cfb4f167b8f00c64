"""The supervisor of child processes, used by `quire up` and by the workers' supervisor.

It starts children in order and waits until each is ready, restarts what dies, and
stops them in reverse order:

    with ProcessSupervisor() as supervisor, supervisor.signals():
        supervisor.start(first, second)
        supervisor.watch()
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Literal, Self

from shared.process.child import (
    Child,
    Event,
    StartFailed,
    describe_exit,
    has_ended,
    kill_session,
    log_event,
    log_tail,
    spawn,
)

__all__ = ["Child", "Event", "ProcessSupervisor", "StartFailed", "StopRequested", "log_event"]

POLL_SECONDS = 0.1
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
#: A child that ran this long after it was ready starts over with the shortest delay.
HEALTHY_SECONDS = 60.0
#: What is left to all children together once a second signal came.
HURRY_SECONDS = 2.0


class StopRequested(Exception):
    """A signal came while children were being started."""


class _Kept:
    """A child with its present process and what its restarts depend on."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.ready_at: float | None = None
        self.asked_at: float | None = None
        self.delay_seconds = FIRST_DELAY_SECONDS
        self.restart_at: float | None = None


class ProcessSupervisor:
    """Starts, watches, restarts and stops a set of children.

    Use it from one thread, which must live as long as the children.

    Args:
        report: Told what happens to the children; the log by default.
    """

    def __init__(self, report: Callable[[Event], None] = log_event) -> None:
        self._report = report
        self._kept: list[_Kept] = []
        self._signals = 0
        self._hurried_at: float | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        os.close(self._wake_read)
        os.close(self._wake_write)

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._signals > 0

    def pid(self, name: str) -> int | None:
        """The process id of a child, or None while it is down."""
        for kept in self._kept:
            if kept.child.name == name and kept.process is not None:
                return kept.process.pid
        return None

    def request_stop(self) -> None:
        """Ask for an orderly stop; asked a second time, for a hurried one. Any thread may."""
        self._signals += 1
        if self._signals == 2:
            self._hurried_at = time.monotonic()
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as requests to stop while the block runs."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.request_stop()

        previous = {
            number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            # Only now may a signal do what it did before: the children are stopped first,
            # so that an impatient Ctrl-C cannot cut the stop short.
            self.stop()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def start(self, *children: Child) -> None:
        """Start children one after the other, each once the one before is ready.

        Raises:
            StartFailed: One ended or stayed unready. Those before it still run.
            StopRequested: A signal came meanwhile.
        """
        for child in children:
            self.start_together(child)

    def start_together(self, *children: Child) -> None:
        """Start children all at once, and wait until each is ready. Raises as `start` does."""
        begun = [_Kept(child) for child in children]
        for kept in begun:
            self._kept.append(kept)
            self._spawn(kept)
        for kept in begun:
            self._await_ready(kept)

    def complete(self, child: Child) -> None:
        """Run a child until it ends by itself. Raises as `start` does."""
        kept = _Kept(child)
        self._kept.append(kept)
        process = self._spawn(kept)
        try:
            while not has_ended(process):
                self._pause(POLL_SECONDS)
                if self.stopping:
                    raise StopRequested
        finally:
            self._end(kept)
            self._kept.remove(kept)
        if process.returncode:
            raise _failure(child, describe_exit(process.returncode))

    def watch(self, tick: Callable[[], None] | None = None, tick_seconds: float = 1.0) -> None:
        """Restart what dies until a stop is asked for.

        Args:
            tick: Called every `tick_seconds`, in this thread.
            tick_seconds: How often.
        """
        next_tick = time.monotonic()
        while not self.stopping:
            self.poll()
            if tick is not None and time.monotonic() >= next_tick:
                next_tick = time.monotonic() + tick_seconds
                tick()
            self._pause(POLL_SECONDS)

    def poll(self) -> None:
        """Look once at every child: reap, restart what is due, notice what became ready."""
        for kept in self._kept:
            if kept.process is None:
                if kept.restart_at is not None and time.monotonic() >= kept.restart_at:
                    self._spawn(kept)
            elif has_ended(kept.process):
                self._schedule_restart(kept, "exited")
            elif kept.ready_at is None:
                self._look_at_restarted(kept, kept.process)

    def terminate_all(self) -> None:
        """Ask all children to end; the grace of each begins now, and `stop` waits for them."""
        for kept in self._kept:
            if kept.process is not None:
                # Not reaped yet, so the number is still its own.
                kept.process.terminate()
                kept.asked_at = time.monotonic()

    def stop(self) -> None:
        """End all children, the last started first; returns when none is left."""
        for kept in reversed(self._kept):
            self._end(kept)
        self._kept.clear()

    def _spawn(self, kept: _Kept) -> subprocess.Popen[bytes]:
        kept.process = spawn(kept.child)
        kept.started_at = time.monotonic()
        kept.ready_at = kept.restart_at = kept.asked_at = None
        self._report(Event("started", kept.child.name, kept.process.pid))
        return kept.process

    def _is_ready(self, kept: _Kept, process: subprocess.Popen[bytes]) -> bool:
        if kept.child.ready is not None and not kept.child.ready():
            return False
        kept.ready_at = time.monotonic()
        self._report(Event("ready", kept.child.name, process.pid))
        return True

    def _await_ready(self, kept: _Kept) -> None:
        process = kept.process
        assert process is not None  # noqa: S101  # started just before
        while True:
            if self.stopping:
                raise StopRequested
            if has_ended(process):
                raise _failure(kept.child, describe_exit(process.returncode))
            if self._is_ready(kept, process):
                return
            if time.monotonic() - kept.started_at > kept.child.ready_seconds:
                raise _failure(kept.child, f"not ready after {kept.child.ready_seconds:g} s")
            self._pause(POLL_SECONDS)

    def _look_at_restarted(self, kept: _Kept, process: subprocess.Popen[bytes]) -> None:
        if self._is_ready(kept, process):
            return
        if time.monotonic() - kept.started_at > kept.child.ready_seconds:
            kill_session(process)
            process.wait()
            self._schedule_restart(kept, "unready")

    def _schedule_restart(self, kept: _Kept, why: Literal["exited", "unready"]) -> None:
        process = kept.process
        assert process is not None  # noqa: S101  # it has just ended
        now = time.monotonic()
        if kept.ready_at is not None and now - kept.ready_at >= HEALTHY_SECONDS:
            kept.delay_seconds = FIRST_DELAY_SECONDS
        delay = kept.delay_seconds
        kept.delay_seconds = min(2 * delay, LONGEST_DELAY_SECONDS)
        kept.restart_at = now + delay
        kept.process = None
        exit_text = describe_exit(process.returncode)
        self._report(Event(why, kept.child.name, process.pid, exit_text, delay))

    def _end(self, kept: _Kept) -> None:
        process, kept.process = kept.process, None
        if process is None or has_ended(process):
            return
        self._report(Event("stopping", kept.child.name, process.pid))
        asked_at = kept.asked_at
        if asked_at is None:
            process.terminate()
            asked_at = time.monotonic()
        hurried = False
        while not has_ended(process):
            if self._hurried_at is not None and not hurried:
                hurried = True
                self.terminate_all()
            limit = asked_at + kept.child.grace_seconds
            if self._hurried_at is not None:
                limit = min(limit, self._hurried_at + HURRY_SECONDS)
            if time.monotonic() >= limit:
                kill_session(process)
                process.wait()
                self._report(Event("killed", kept.child.name, process.pid))
                return
            self._pause(POLL_SECONDS)
        exit_text = describe_exit(process.returncode)
        self._report(Event("stopped", kept.child.name, process.pid, exit_text))

    def _pause(self, seconds: float) -> None:
        """Sleep, but wake at once when a stop is asked for."""
        readable, _, _ = select.select([self._wake_read], [], [], seconds)
        if readable:
            with suppress(BlockingIOError):
                os.read(self._wake_read, 64)


def _failure(child: Child, what: str) -> StartFailed:
    return StartFailed(f"{child.name} did not start: {what}{log_tail(child.log_path)}")
