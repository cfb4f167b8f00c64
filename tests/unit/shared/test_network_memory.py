"""Which networks find room in a worker's memory, and that none waits for ever."""

import random

import pytest

from shared.scheduling.network_memory import (
    FORGET_SECONDS,
    HOLD_SECONDS,
    LOAD_COPIES,
    PATIENCE_SECONDS,
    NetworkMemory,
    NetworkNeed,
    NetworkTooLarge,
    check_network,
)

SIZES = {"small": 10, "other": 10, "half": 50, "big": 90, "huge": 101}


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> NetworkMemory:
    return NetworkMemory(LOAD_COPIES * 100, clock)


def admitted(memory: NetworkMemory, used: list[str], *jobs: str) -> list[str]:
    """The jobs that are admitted beside networks in use; a job is called as its network."""
    memory.use(used)
    memory.learn(
        {name: SIZES[name.rstrip("0123456789")] for name in memory.unknown([*used, *jobs])}
    )
    return memory.admit([NetworkNeed(f"job of {name}", name, name) for name in jobs])[0]


def jobs(*names: str) -> list[str]:
    return [f"job of {name}" for name in names]


def test_jobs_of_one_network_share_its_bytes(memory: NetworkMemory) -> None:
    memory.use([])
    memory.learn({"big": 90})
    needs = [NetworkNeed(str(number), "ann", "big") for number in range(5)]
    assert memory.admit(needs) == (["0", "1", "2", "3", "4"], set())
    assert memory.used_bytes == LOAD_COPIES * 90


def test_what_has_no_room_waits_and_others_pass(memory: NetworkMemory) -> None:
    assert admitted(memory, ["half"], "big", "small", "half") == jobs("small", "half")
    assert memory.has_waiting
    assert admitted(memory, [], "big") == jobs("big")
    assert not memory.has_waiting


def test_what_never_fits_is_let_in_to_fail(memory: NetworkMemory) -> None:
    assert admitted(memory, ["half"], "huge") == jobs("huge")
    assert memory.used_bytes == LOAD_COPIES * 50
    with pytest.raises(NetworkTooLarge, match="202 bytes to load"):
        check_network(101, 200)
    check_network(100, 200)


def test_others_wait_in_their_turn_for_one_that_was_passed_over_for_long(
    memory: NetworkMemory, clock: Clock
) -> None:
    # The networks in use are asked for again and again, and would never leave.
    for second in range(int(PATIENCE_SECONDS)):
        clock.now = second
        assert admitted(memory, ["half", "small"], "big", "half") == jobs("half")
    clock.now = PATIENCE_SECONDS
    assert admitted(memory, ["half", "small"], "big", "half", "small") == []
    # A network that fits beside it delays it by nothing.
    assert admitted(memory, ["small"], "half", "small") == jobs("small")
    assert admitted(memory, ["small"], "big") == jobs("big")
    assert admitted(memory, ["small"], "half") == jobs("half")


def test_others_do_not_wait_for_ever_either(memory: NetworkMemory, clock: Clock) -> None:
    for second in range(int(PATIENCE_SECONDS + HOLD_SECONDS) + 1):
        clock.now = second
        found = admitted(memory, ["half"], "big", "other")
    assert found == jobs("other")


def test_a_job_that_is_gone_holds_nothing(memory: NetworkMemory, clock: Clock) -> None:
    assert admitted(memory, ["half"], "big") == []
    clock.now = FORGET_SECONDS + 1
    assert admitted(memory, ["half"], "small") == jobs("small")
    assert not memory.has_waiting


def test_the_bound_is_never_passed_and_everything_is_admitted_some_time(
    memory: NetworkMemory, clock: Clock
) -> None:
    dice = random.Random(5)
    names = [f"{kind}{number}" for kind in ("small", "half", "big") for number in range(3)]
    running: dict[str, float] = {}
    last = dict.fromkeys(names, 0.0)
    for second in range(4000):
        clock.now = second
        running = {name: until for name, until in running.items() if until > second}
        # Each is always in the line; their order changes.
        for job in admitted(memory, list(running), *dice.sample(names, len(names))):
            name = job.removeprefix("job of ")
            running[name] = second + dice.randint(1, 40)
            last[name] = second
        assert memory.used_bytes <= memory.limit_bytes
        assert all(second - seen < 2 * (PATIENCE_SECONDS + HOLD_SECONDS) for seen in last.values())
