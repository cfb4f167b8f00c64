"""Whether a process that was named earlier has surely ended."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from shared.process.identity import has_surely_ended, own_identity
from tests.services.waiting import until


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that runs, and what it calls itself."""
    program = "from shared.process.identity import own_identity as own; print(own(), flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{program}; input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


def test_a_running_process_has_not_ended(other: tuple[subprocess.Popen[str], str]) -> None:
    _, identity = other
    assert identity.count("/") == 3
    assert not has_surely_ended(identity)
    assert not has_surely_ended(own_identity())


def test_a_killed_process_has_ended_reaped_or_not(
    other: tuple[subprocess.Popen[str], str],
) -> None:
    process, identity = other
    process.kill()
    assert process.stdout is not None
    assert process.stdout.read() == ""
    # Its files are closed a moment before it is a zombie.
    until(lambda: has_surely_ended(identity), "the end of the process", 10)
    process.wait(10)
    assert has_surely_ended(identity)


def test_another_process_may_have_got_the_id(other: tuple[subprocess.Popen[str], str]) -> None:
    _, identity = other
    place, _, _ = identity.rpartition("/")
    assert has_surely_ended(f"{place}/1")


@pytest.mark.parametrize("identity", [None, "", "nonsense", "boot/pid:[1]/2/3", "a/b/c/d"])
def test_what_cannot_be_seen_from_here_may_run(identity: str | None) -> None:
    assert not has_surely_ended(identity)
