"""Threads that commit together: who leads, and who gives up what while it waits."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain

import pytest

from api import group_commit
from api.front import FairSlots, Front, FrontLimits, Slot
from api.group_commit import MANY, GroupCommit
from api.http.head_policy import ApiHeadPolicy
from api.services import EXTENSION
from shared.process.wakeup import Wakeup
from tests.api.groups import Groups, Send
from tests.api.harness import ApiHarness, Person
from tests.services.waiting import until


class Held:
    """A group commit whose first group is held back."""

    def __init__(self) -> None:
        self.groups: GroupCommit[int] = GroupCommit()
        self.committed: list[list[int]] = []
        self.gave_up: list[int] = []
        self.gate = threading.Event()

    def run(self, member: int) -> None:
        self.groups.run(member, self._commit, lambda: self.gave_up.append(member))

    def _commit(self, group: Sequence[int]) -> None:
        if not self.committed:
            self.committed.append(list(group))
            assert self.gate.wait(30)
        else:
            self.committed.append(list(group))

    def start(self, threads: ThreadPoolExecutor, members: Sequence[int]) -> "list[Future[None]]":
        """Start each member once the one before it leads or waits."""
        started = []
        for place, member in enumerate(members):
            started.append(threads.submit(self.run, member))
            if place == 0:
                until(lambda: bool(self.committed), "the first one leads")
            else:
                until(partial(self._has_waiting, place), "it waits")
        return started

    def _has_waiting(self, count: int) -> bool:
        return len(self.groups._waiting) == count


def test_those_who_wait_give_up_what_others_can_use() -> None:
    held = Held()
    with ThreadPoolExecutor(4) as threads:
        running = held.start(threads, range(4))
        held.gate.set()
        for each in running:
            each.result(30)
    assert held.committed == [[0], [1, 2, 3]]
    assert sorted(held.gave_up) == [1, 2, 3], "the leader works, and keeps it"


def test_of_many_who_wait_the_last_keep_what_bounds_them() -> None:
    held = Held()
    with ThreadPoolExecutor(MANY + 4) as threads:
        running = held.start(threads, range(MANY + 4))
        held.gate.set()
        for each in running:
            each.result(30)
    assert sorted(held.gave_up) == list(range(1, MANY + 1))
    assert sorted(chain(*held.committed)) == list(range(MANY + 4))


def test_a_leader_takes_those_along_who_stand_in_line_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "NEXT_SECONDS", 30.0)
    monkeypatch.setattr(group_commit, "LONGEST_SECONDS", 30.0)
    groups: GroupCommit[int] = GroupCommit()
    committed: list[list[int]] = []
    line, gave_up = [1, 2, 3], []

    def run(member: int) -> None:
        groups.run(
            member,
            lambda group: committed.append(list(group)),
            lambda: gave_up.append(member),
            lambda: bool(line),
        )

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(run, 0)]
        until(lambda: gave_up == [0], "the leader lets others go on")
        while line:
            running.append(threads.submit(run, line.pop(0)))
        for each in running:
            each.result(30)
    assert sorted(chain(*committed)) == [0, 1, 2, 3]
    assert len(committed[0]) > 1


def test_a_leader_does_not_wait_long_for_a_line_of_which_nobody_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "LONGEST_SECONDS", 600.0)
    committed: list[Sequence[int]] = []
    GroupCommit[int]().run(0, committed.append, more_come=lambda: True)
    assert committed == [[0]]


def test_a_leader_does_not_wait_long_however_many_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "NEXT_SECONDS", 600.0)
    committed: list[Sequence[int]] = []
    GroupCommit[int]().run(0, committed.append, more_come=lambda: True)
    assert committed == [[0]]


class Asleep:
    """A thread whose member is committed by another one."""

    def __init__(self, threads: ThreadPoolExecutor, *, sleeps_on: bool) -> None:
        self.sleeper, self.held = Wakeup(), Held()
        self.leader = threads.submit(self.held.run, 0)
        until(lambda: bool(self.held.committed), "the leader leads")
        self.future = threads.submit(
            self.held.groups.run,
            *(1, self.held._commit),
            sleeper=self.sleeper,
            sleeps_on=lambda: sleeps_on,
        )
        until(partial(self.held._has_waiting, 1), "it waits")

    def lead_another(self, threads: ThreadPoolExecutor) -> None:
        """Commit it in the group of a third thread."""
        third = threads.submit(self.held.run, 2)
        until(partial(self.held._has_waiting, 2), "the third waits")
        self.held.groups._waiting.reverse()
        self.held.gate.set()
        for each in (self.leader, third):
            each.result(30)
        assert self.held.committed == [[0], [2, 1]]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as threads:
        yield threads


@pytest.mark.parametrize(
    ("sleep_seconds", "sleeps_on"), [(60.0, False), (0.3, True)], ids=["woken", "by itself"]
)
def test_a_thread_whose_member_is_committed_goes_on(
    sleep_seconds: float,
    sleeps_on: bool,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "SLEEP_SECONDS", sleep_seconds)
    asleep = Asleep(threads, sleeps_on=sleeps_on)
    asleep.lead_another(threads)
    asleep.future.result(30)


def test_a_thread_that_sleeps_on_is_woken_by_whom_it_waits_for(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "SLEEP_SECONDS", 60.0)
    asleep = Asleep(threads, sleeps_on=True)
    asleep.lead_another(threads)
    with pytest.raises(TimeoutError):
        asleep.future.result(0.2)
    asleep.sleeper.wake()
    asleep.future.result(30)


def test_a_wake_that_comes_before_the_leader_is_through_is_not_lost(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "SLEEP_SECONDS", 60.0)
    asleep = Asleep(threads, sleeps_on=True)
    [ticket] = asleep.held.groups._waiting
    asleep.sleeper.wake()
    until(lambda: ticket.is_to_be_woken, "it has looked, and sleeps again")
    asleep.lead_another(threads)
    asleep.future.result(30)


def test_an_error_of_the_leader_reaches_its_whole_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "SLEEP_SECONDS", 60.0)
    held = Held()

    def fail(group: Sequence[int]) -> None:
        held.committed.append(list(group))
        assert held.gate.wait(30)
        raise OSError("the disk is gone")

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(held.groups.run, 0, fail)
        until(lambda: bool(held.committed), "the first one leads")
        others = [
            threads.submit(held.groups.run, number, fail, sleeps_on=lambda: True)
            for number in (1, 2)
        ]
        until(lambda: len(held.groups._waiting) == 2, "they wait")
        held.gate.set()
        for each in (first, *others):
            with pytest.raises(OSError, match="disk"):
                each.result(30)


def test_a_slot_that_a_request_gives_back_is_another_ones_until_it_goes_on() -> None:
    slots = FairSlots(2)
    slots.acquire("ann")
    slots.acquire("ann")
    mine = Slot(slots, "ann")
    granted = threading.Event()
    slots.submit("ann", granted.set)
    assert not granted.is_set()
    mine.pause()
    assert granted.is_set()
    mine.pause()  # a second time gives nothing back
    resumed = threading.Thread(target=mine.resume)
    resumed.start()
    resumed.join(0.1)
    assert resumed.is_alive(), "there is no slot"
    slots.release("ann")
    resumed.join(30)
    assert not resumed.is_alive()
    mine.resume()  # it has one


def test_one_sender_fills_a_group_beyond_its_share_of_the_slots(
    harness: ApiHarness, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = Groups(monkeypatch)
    model = harness.model(ann)["id"]
    shared = harness.app.extensions[EXTENSION]
    share = shared.request_slots._share
    with front(harness) as port:

        def send(seed: int) -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            body = {"model": model, "prompt": "It ", "length": 5, "seed": seed}
            headers = {"Authorization": f"Bearer {ann.key}", "Content-Type": "application/json"}
            connection.request("POST", "/v1/generate", json.dumps(body), headers)
            with closing(connection), connection.getresponse() as answer:
                answer.read()
                return answer

        others: list[Send] = [partial(send, seed) for seed in range(1, 3 * share)]
        answers = groups.together(harness, partial(send, 0), others)
    assert [answer.status for answer in answers] == [202] * 3 * share
    assert groups.sizes == [1, 3 * share - 1]
    assert not shared.request_slots._held, "all slots are free again"


@contextmanager
def front(harness: ApiHarness) -> Iterator[int]:
    """Serve the application on a port, as its own process does."""
    listener, stopping = socket.create_server(("127.0.0.1", 0)), threading.Event()
    slots = harness.app.extensions[EXTENSION].request_slots
    served = Front(harness.app.wsgi_app, listener, ApiHeadPolicy(harness.app), FrontLimits(), slots)
    thread = threading.Thread(target=served.serve, args=(stopping, 5.0))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopping.set()
        served.pull_trigger()
        thread.join()
