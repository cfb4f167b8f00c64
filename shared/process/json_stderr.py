"""Makes every line of standard error JSON, whoever writes it.

The logs of Quire are JSON already. TensorFlow's C++ side, a crash's traceback, Python's warnings,
argparse and other libraries write plain lines straight to the descriptor. So `install` puts a pipe
in its place, and a small process reads it and wraps what is not JSON. It is a process because a
thread would end with a crash, before it has read what the crash says. Child processes inherit the
pipe.

This file is also the program of that process, and then imports nothing but the standard library.
"""

import atexit
import json
import os
import re
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

STDOUT, STDERR = 1, 2
#: Tells programs that follow in this process, and child processes, which pipe is installed.
MARKER = "JSON_STDERR_PIPE"
#: Foreign lines that come so soon after each other are one event, such as a traceback.
BURST_SECONDS = 0.2
#: The most bytes of one event.
EVENT_BYTES = 256 * 1024
#: How long the end of this process waits for its last lines to be written.
FLUSH_SECONDS = 2.0
#: API keys, tokens of enrolments, and passwords in URLs.
SECRETS = re.compile(r"(quire_(?:enrol_)?[0-9a-z]{8}_)[0-9a-f]{64}|(://[^:/@\s]*:)[^@/\s]+(?=@)")
#: A line of TensorFlow's, Abseil's or billiard's own log, which begins a new event.
_NATIVE = re.compile(
    r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: )?([IWEF])(?:\d{4})? |\[[^\]]+: ([DIWEC])[A-Z]+/"
)
_LEVELS = {
    "D": "debug",
    "I": "info",
    "W": "warning",
    "E": "error",
    "F": "critical",
    "C": "critical",
}


def install(*, with_stdout: bool = False) -> None:
    """Put the pipe in the place of standard error, unless a program before this one did.

    Call it before any thread starts.

    Args:
        with_stdout: Put it in the place of standard output too, where only libraries write.
    """
    installed, _, done = os.environ.get(MARKER, "").partition(":")
    if installed != _identity():
        done = str(_start())
        os.environ[MARKER] = f"{_identity()}:{done}"
    if with_stdout:
        os.dup2(STDERR, STDOUT)
    atexit.register(_flush, os.getpid(), int(done))


def _start() -> int:
    """Start the process. Returns a descriptor that is at its end once the process has ended."""
    lines, write = os.pipe()
    done, held = os.pipe()
    # Twice forked, it is nobody's child, and outlives what kills this process and its group.
    if (child := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            os.dup2(lines, 0)
            os.set_inheritable(held, True)
            os.execv(sys.executable, [sys.executable, "-I", "-S", __file__])  # noqa: S606
        os._exit(0)
    os.waitpid(child, 0)
    os.dup2(write, STDERR)
    # `python -m worker`, which follows `quire worker` in this process, waits for it too.
    os.set_inheritable(done, True)
    for descriptor in (lines, write, held):
        os.close(descriptor)
    return done


def mask(match: re.Match[str]) -> str:
    """Replace a secret that `SECRETS` has found."""
    return f"{match.group(1) or match.group(2)}(hidden)"


def _identity(descriptor: int = STDERR) -> str:
    """Name what standard error is, or another descriptor."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return "closed"
    return f"{found.st_dev}-{found.st_ino}"


def _flush(owner: int, done: int) -> None:
    """Wait until the last lines are written: a container is killed once its process has ended."""
    if os.getpid() != owner:
        return
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_WRONLY)
    if _identity(STDOUT) == _identity():
        os.dup2(nothing, STDOUT)
    os.dup2(nothing, STDERR)
    with suppress(OSError, ValueError):
        select.select([done], [], [], FLUSH_SECONDS)


class Wrapper:
    """Passes JSON lines on, and collects others into events.

    Args:
        write: Receives whole lines.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._rest = b""
        self._foreign: list[str] = []
        self._bytes = 0

    @property
    def waiting(self) -> bool:
        """Whether lines are held back, which belong to one event."""
        return bool(self._foreign)

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > EVENT_BYTES:
            self.end()

    def end(self) -> None:
        """Take what has no end of line yet as a line, and write all that is held back."""
        rest, self._rest = self._rest, b""
        if rest:
            self._take(rest)
        self.write_event()

    def write_event(self) -> None:
        """Write the lines that are held back, as one event."""
        lines, self._foreign, self._bytes = self._foreign, [], 0
        text = "\n".join(lines).strip("\r\n")
        if not text.strip():
            return
        native = _NATIVE.match(text)
        event = {
            "event": SECRETS.sub(mask, text),
            "source": "stderr",
            "level": _LEVELS[native[1] or native[2]] if native else "warning",
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        self._write(json.dumps(event, ensure_ascii=False).encode(errors="replace") + b"\n")

    def _take(self, line: bytes) -> None:
        if _is_json(line):
            self.write_event()
            self._write(line + b"\n")
            return
        text = line.decode(errors="replace")
        if self._bytes + len(line) > EVENT_BYTES or _NATIVE.match(text):
            self.write_event()
        self._foreign.append(text)
        self._bytes += len(line)


def _is_json(line: bytes) -> bool:
    if not line.startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _write_all(data: bytes) -> None:
    # Nobody may read it any more. The writers must not wait for that.
    with suppress(OSError):
        while data:
            data = data[os.write(STDERR, data) :]


def main() -> None:
    """Wrap what comes from standard input until its last writer has ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wrapper = Wrapper(_write_all)
    while True:
        timeout = BURST_SECONDS if wrapper.waiting else None
        readable, _, _ = select.select([0], [], [], timeout)
        if not readable:
            wrapper.write_event()
            continue
        data = os.read(0, 65536)
        if not data:
            break
        wrapper.feed(data)
    wrapper.end()


if __name__ == "__main__":
    main()
