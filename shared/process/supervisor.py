"""A supervisor of child processes, used by `quire up` and by the workers' supervisor.

It starts children in order and waits until each is ready, restarts those that exit, and
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
from types import FrameType
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
#: A child that ran this long after it was ready restarts with the shortest delay again.
HEALTHY_SECONDS = 60.0
#: The time that all children together have to end after a second signal.
HURRY_SECONDS = 2.0


class StopRequested(Exception):
    """A signal arrived while children were starting."""


class _ManagedChild:
    """A child, its current process and the state of its restarts."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.ready_at: float | None = None
        self.terminated_at: float | None = None
        self.delay_seconds = FIRST_DELAY_SECONDS
        self.restart_at: float | None = None


class ProcessSupervisor:
    """Starts, watches, restarts and stops a set of children.

    Use it from one thread, which must live as long as the children.

    Args:
        report: Receives the events of the children; the log by default.
    """

    def __init__(self, report: Callable[[Event], None] = log_event) -> None:
        self._report = report
        self._children: list[_ManagedChild] = []
        self._signals = 0
        self._hurried_at: float | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        os.close(self._wake_read)
        os.close(self._wake_write)

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._signals > 0

    def pid(self, name: str) -> int | None:
        """Return the process id of a child, or None while it is down."""
        for managed in self._children:
            if managed.child.name == name and managed.process is not None:
                return managed.process.pid
        return None

    def request_stop(self) -> None:
        """Request an orderly stop, or on the second call a hurried one. Safe from any thread."""
        self._signals += 1
        if self._signals == 2:
            self._hurried_at = time.monotonic()
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Treat SIGTERM and SIGINT as requests to stop while the block runs."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.request_stop()

        previous = {
            number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            # The children are stopped before the signals get their handlers back, so that an
            # impatient Ctrl-C cannot cut the stop short.
            self.stop()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def start(self, *children: Child) -> None:
        """Start children in order, each once the one before is ready.

        Raises:
            StartFailed: A child ended or did not become ready. Those before it still run.
            StopRequested: A signal arrived meanwhile.
        """
        for child in children:
            self.start_together(child)

    def start_together(self, *children: Child) -> None:
        """Start all children, then wait until each is ready. Raises as `start` does."""
        started = [_ManagedChild(child) for child in children]
        for managed in started:
            self._children.append(managed)
            self._spawn(managed)
        for managed in started:
            self._await_ready(managed)

    def complete(self, child: Child) -> None:
        """Run a child to its end. Raises as `start` does."""
        managed = _ManagedChild(child)
        self._children.append(managed)
        process = self._spawn(managed)
        try:
            while not has_ended(process):
                self._pause(POLL_SECONDS)
                if self.stopping:
                    raise StopRequested
        finally:
            self._end(managed)
            self._children.remove(managed)
        if process.returncode:
            raise _failure(child, describe_exit(process.returncode))

    def watch(self, tick: Callable[[], None] | None = None, tick_seconds: float = 1.0) -> None:
        """Restart children that exit until a stop is requested.

        Args:
            tick: Called every `tick_seconds`, in this thread.
            tick_seconds: The interval between calls of `tick`.
        """
        next_tick = time.monotonic()
        while not self.stopping:
            self.poll()
            if tick is not None and time.monotonic() >= next_tick:
                next_tick = time.monotonic() + tick_seconds
                tick()
            self._pause(POLL_SECONDS)

    def poll(self) -> None:
        """Check every child once: reap it, restart it when it is due, or note that it is ready."""
        for managed in self._children:
            if managed.process is None:
                if managed.restart_at is not None and time.monotonic() >= managed.restart_at:
                    self._spawn(managed)
            elif has_ended(managed.process):
                self._schedule_restart(managed, "exited")
            elif managed.ready_at is None:
                self._check_restarted(managed, managed.process)

    def terminate_all(self) -> None:
        """Send SIGTERM to all children, which starts their grace periods; `stop` waits for them."""
        for managed in self._children:
            if managed.process is not None:
                # It is not reaped yet, so no other process has its id.
                managed.process.terminate()
                managed.terminated_at = time.monotonic()

    def stop(self) -> None:
        """Stop all children in reverse order; return when none is left."""
        for managed in reversed(self._children):
            self._end(managed)
        self._children.clear()

    def _spawn(self, managed: _ManagedChild) -> subprocess.Popen[bytes]:
        managed.process = spawn(managed.child)
        managed.started_at = time.monotonic()
        managed.ready_at = managed.restart_at = managed.terminated_at = None
        self._report(Event("started", managed.child.name, managed.process.pid))
        return managed.process

    def _is_ready(self, managed: _ManagedChild, process: subprocess.Popen[bytes]) -> bool:
        if managed.child.ready is not None and not managed.child.ready():
            return False
        managed.ready_at = time.monotonic()
        self._report(Event("ready", managed.child.name, process.pid))
        return True

    def _await_ready(self, managed: _ManagedChild) -> None:
        process = managed.process
        assert process is not None  # noqa: S101  # started just before
        while True:
            if self.stopping:
                raise StopRequested
            if has_ended(process):
                raise _failure(managed.child, describe_exit(process.returncode))
            if self._is_ready(managed, process):
                return
            if time.monotonic() - managed.started_at > managed.child.ready_seconds:
                raise _failure(managed.child, f"not ready after {managed.child.ready_seconds:g} s")
            self._pause(POLL_SECONDS)

    def _check_restarted(self, managed: _ManagedChild, process: subprocess.Popen[bytes]) -> None:
        if self._is_ready(managed, process):
            return
        if time.monotonic() - managed.started_at > managed.child.ready_seconds:
            kill_session(process)
            process.wait()
            self._schedule_restart(managed, "unready")

    def _schedule_restart(self, managed: _ManagedChild, kind: Literal["exited", "unready"]) -> None:
        process = managed.process
        assert process is not None  # noqa: S101  # it has just ended
        now = time.monotonic()
        if managed.ready_at is not None and now - managed.ready_at >= HEALTHY_SECONDS:
            managed.delay_seconds = FIRST_DELAY_SECONDS
        delay = managed.delay_seconds
        managed.delay_seconds = min(2 * delay, LONGEST_DELAY_SECONDS)
        managed.restart_at = now + delay
        managed.process = None
        exit_text = describe_exit(process.returncode)
        self._report(Event(kind, managed.child.name, process.pid, exit_text, delay))

    def _end(self, managed: _ManagedChild) -> None:
        process, managed.process = managed.process, None
        if process is None or has_ended(process):
            return
        self._report(Event("stopping", managed.child.name, process.pid))
        terminated_at = managed.terminated_at
        if terminated_at is None:
            process.terminate()
            terminated_at = time.monotonic()
        hurried = False
        while not has_ended(process):
            if self._hurried_at is not None and not hurried:
                hurried = True
                self.terminate_all()
            limit = terminated_at + managed.child.grace_seconds
            if self._hurried_at is not None:
                limit = min(limit, self._hurried_at + HURRY_SECONDS)
            if time.monotonic() >= limit:
                kill_session(process)
                process.wait()
                self._report(Event("killed", managed.child.name, process.pid))
                return
            self._pause(POLL_SECONDS)
        exit_text = describe_exit(process.returncode)
        self._report(Event("stopped", managed.child.name, process.pid, exit_text))

    def _pause(self, seconds: float) -> None:
        """Sleep, but return at once when a stop is requested."""
        readable, _, _ = select.select([self._wake_read], [], [], seconds)
        if readable:
            with suppress(BlockingIOError):
                os.read(self._wake_read, 64)


def _failure(child: Child, reason: str) -> StartFailed:
    return StartFailed(f"{child.name} did not start: {reason}{log_tail(child.log_path)}")
