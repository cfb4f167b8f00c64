"""Runs the suite as two pytest processes side by side, one for each of two cores.

``python -m tools.run_tests`` gives the tests that wait (for workers, leases and restarts) to one
process and all others to the second, so that one computes while the other waits. Each process has
its own Redis and PostgreSQL. A few tests that fail there run once more, with the machine for
themselves: one that passes then is reported as flaky, and the suite passes. ``--quick`` runs a
subset for a first look, ``--page`` the tests of the page, each half with a server and a browser.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock, Thread

from shared.process import pdeathsig

#: Tests that mostly wait for other processes. All other tests, new folders included, run in the
#: second process. Move a path when `--durations=0` says that one process ends minutes earlier.
WAITING = (
    *("tests/e2e", "tests/faults", "tests/worker"),
    *("tests/backup", "tests/migrations", "tests/openai"),
)
#: Tests that need the machine for themselves (`make attacks`), a built page and a browser
#: (`make page`), or packages of their own (`make clients`).
ALONE = ("tests/attacks", "tests/clients", "tests/page")
#: What `--quick` runs of each process, without the tests marked slow.
QUICK = {
    "waiting": (
        *("tests/migrations", "tests/packaging", "tests/queue", "tests/quire"),
        *("tests/unit/quire", "tests/unit/shared"),
    ),
    "computing": ("tests/unit/ml",),
}
#: The tests of the page that look at every view; all others are the second half.
LOOKING = ("tests/page/test_pictures.py", "tests/page/test_views.py")
#: The closing sections of pytest, from the first of which the output is kept together.
CLOSING = re.compile(r"=+ (ERRORS|FAILURES|warnings summary|slowest|short test summary|.* in \d)")
#: pytest's closing line, with -q or without.
TOTALS = re.compile(r"^[= ]*((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s\b")
ANSI = re.compile(r"\x1b\[[\d;]*m")
FAILURES = ("failed", "error", "errors")
#: So many failures may come of a busy machine, and run once more. More than these have a cause.
RERUN_AT_MOST = 5
#: The exit code of a shell for what Ctrl-C ended.
INTERRUPTED = 130


@dataclass(frozen=True)
class Part:
    """The arguments of one pytest process.

    Attributes:
        name: Stands before each of its lines.
        arguments: What pytest gets.
    """

    name: str
    arguments: tuple[str, ...]

    def failed_only(self) -> "Part":
        """The part that runs again what failed of this one, by pytest's record of it."""
        return Part(
            self.name, (*self.arguments, "-v", "--last-failed", "--last-failed-no-failures=none")
        )


class Run:
    """One pytest process, whose output is forwarded.

    Args:
        part: What it runs.
        lock: Held while lines are written.
    """

    def __init__(self, part: Part, lock: Lock) -> None:
        self.part = part
        self.closing_line = ""
        self.process = subprocess.Popen(
            # A runner that is killed takes its processes along.
            [
                *(sys.executable, pdeathsig.__file__, str(os.getpid())),
                *(sys.executable, "-m", "pytest", *part.arguments),
                # Two processes don't share the record of what failed.
                *("-o", f"cache_dir=.pytest_cache/{part.name}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C reaches the runner alone, which passes it on once.
            process_group=0,
        )
        self._lock = lock
        self._reader = Thread(target=self._forward, name=part.name)
        self._reader.start()

    def wait(self) -> int:
        """Wait for its end and for its last line; the exit code."""
        self._reader.join()
        return self.process.wait()

    def counts(self) -> Counter[str]:
        """The numbers of its closing line, such as passed and skipped."""
        found = re.findall(r"(\d+) ([a-z]+)", self.closing_line.partition(" in ")[0])
        return Counter({word: int(number) for number, word in found})

    def failures(self, code: int) -> int:
        """How many tests failed. A process that died, or failed for another reason, counts as 1."""
        counts = self.counts()
        return sum(counts[word] for word in FAILURES) or int(code != 0)

    def _forward(self) -> None:
        held: list[str] = []
        with self.process.stdout or nullcontext(()) as output:
            for line in output:
                plain = ANSI.sub("", line)
                if TOTALS.match(plain):
                    self.closing_line = plain.strip("= \n")
                if held or CLOSING.match(plain):
                    held.append(line)
                    continue
                with self._lock:
                    print(f"{self.part.name:9} | {line}", end="", flush=True)
        with self._lock:
            print(f"\n----- {self.part.name} -----\n{''.join(held)}", flush=True)


def parts() -> tuple[Part, ...]:
    """The two processes of the suite."""
    return Part("waiting", WAITING), _others("computing", "tests", (*WAITING, *ALONE))


def quick_parts() -> tuple[Part, ...]:
    """The two processes of its quick subset."""
    return tuple(Part(name, ("-m", "not slow", *paths)) for name, paths in QUICK.items())


def page_parts() -> tuple[Part, ...]:
    """The two processes of the tests of the page."""
    return Part("looking", LOOKING), _others("using", "tests/page", LOOKING)


def _others(name: str, folder: str, left_out: Sequence[str]) -> Part:
    return Part(name, (folder, *(f"--ignore={path}" for path in left_out)))


def run(parts: Sequence[Part]) -> int:
    """Run the parts side by side and print the sum of what they counted as the last line.

    Returns:
        0 if all have passed, at the latest alone, else 1, or 130 after Ctrl-C or SIGTERM.
    """
    with _passing_signals_on() as runs:
        failures = _run_together(parts, runs)
        total = sum((each.counts() for each in runs), Counter[str]())
        failed = sum(failures)
        if 0 < failed <= RERUN_AT_MOST and not runs.received:
            print(f"\n{failed} failed; running them again, alone", flush=True)
            runs.clear()
            still = sum(
                sum(_run_together([part.failed_only()], runs))
                for part, count in zip(parts, failures, strict=True)
                if count
            )
            passed = sum(each.counts()["passed"] for each in runs)
            if passed:
                print(f"FLAKY: {passed} of {failed} passed when run alone, as listed above")
            total["passed"] += passed
            failed = still
        interrupted = runs.received
    print(f"{total['passed']} passed, {failed} failed, {total['skipped']} skipped", flush=True)
    if interrupted:
        return INTERRUPTED
    return 1 if failed else 0


def _run_together(parts: Sequence[Part], runs: "_Runs") -> list[int]:
    """Run the parts side by side, add them to `runs`, and return each one's failures."""
    lock = Lock()
    started = [Run(part, lock) for part in parts]
    runs.extend(started)
    codes = [each.wait() for each in started]
    for each, code in zip(started, codes, strict=True):
        print(f"{each.part.name}: {each.closing_line or f'no result, exit code {code}'}")
    return [each.failures(code) for each, code in zip(started, codes, strict=True)]


class _Runs(list[Run]):
    """The processes that signals go to."""

    received = False

    def send(self, number: int, _frame: object) -> None:
        """Pass a signal on."""
        self.received = True
        for each in self:
            each.process.send_signal(number)


@contextmanager
def _passing_signals_on() -> Iterator[_Runs]:
    runs = _Runs()
    before = {each: signal.signal(each, runs.send) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield runs
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite.

    Returns:
        See `run`.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.run_tests", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    for name, of, text in (
        ("--quick", quick_parts, "run a subset for a first look"),
        ("--page", page_parts, "run the tests of the page"),
    ):
        choice.add_argument(
            name, dest="parts", action="store_const", const=of, default=parts, help=text
        )
    return run(parser.parse_args(arguments).parts())


if __name__ == "__main__":
    sys.exit(main())
