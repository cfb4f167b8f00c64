"""A home directory of its own for each test, in which the real `quire` runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
READY_SECONDS = 180.0
STOP_SECONDS = 90.0
#: Options of a training that takes almost no time; it learns nothing.
TINY = ["--epochs", "1", "--set", "units=16", "--set", "embedding=8", "--set", "window=16"]
TEXT = "The quick brown fox jumps over the lazy dog, and the dog does not mind. " * 150


class Home:
    """A home directory in which `quire` runs as it would for a user."""

    program: tuple[str, ...] = (sys.executable, "-m", "quire")
    working_directory = ROOT

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data_dir = path / "data"
        self.port = free_port()
        self.first_texts: list[str] = []
        inherited = ("QUIRE_", "XDG_", "DATABASE_URL", "REDIS_URL")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(inherited)} | {
            "HOME": str(path),
            "COLUMNS": "100",
            # These tests look at what starts and stops, not at how soon a first text comes.
            "QUIRE_WARM_MODELS": "0",
        }

    def quire(
        self, *arguments: str, code: int = 0, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and check its exit code."""
        done = subprocess.run(
            [*self.program, *arguments],
            cwd=self.working_directory,
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.quire(*arguments, "--json").stdout)

    @contextmanager
    def up(self) -> Iterator["Up"]:
        log = (self.path / "up.txt").open("w+")
        process = subprocess.Popen(
            [
                *(*self.program, "up"),
                *("--data-dir", str(self.data_dir), "--port", str(self.port)),
            ],
            cwd=self.working_directory,
            env=self.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        running = Up(process, self.path / "up.txt")
        try:
            wait_until(lambda: running.ended or "Quire runs at" in running.output, READY_SECONDS)
            assert not running.ended, running.output
            # The greeting follows the address at once; wait for its last line.
            wait_until(lambda: "Ctrl-C stops it" in running.output, 10)
            yield running
        finally:
            running.end()
            log.close()


class Up:
    """A running `quire up`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, part: str) -> psutil.Process:
        """The child whose process title names a part: `api` or `supervisor`."""
        for child in psutil.Process(self.process.pid).children():
            if " ".join(child.cmdline()).startswith(f"quire: {part} "):
                return child
        raise AssertionError(f"no child is titled quire: {part}")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def end(self) -> None:
        if not self.ended:
            family = self.family()
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                for process in family:
                    process.kill()
                self.process.kill()
                self.process.wait()


def is_running(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie has ended.

    A zombie stays in the process table until its parent waits for it. The init process of a
    container, which adopts orphans, may never do so.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.1)
