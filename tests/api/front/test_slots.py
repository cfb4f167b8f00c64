"""Slots: senders take turns, and each has a share."""

import threading

import pytest

from api.front import FairSlots, Slot


class Asking:
    """Requests of several senders for the slots, and who was granted one, in order."""

    def __init__(self, slots: FairSlots) -> None:
        self.granted: list[str] = []
        self._slots = slots

    def ask(self, sender: str, times: int = 1) -> None:
        for _ in range(times):
            self._slots.submit(sender, lambda: self.granted.append(sender))


@pytest.fixture
def slots() -> FairSlots:
    return FairSlots(24)  # a share is three


@pytest.fixture
def asking(slots: FairSlots) -> Asking:
    return Asking(slots)


def test_one_has_a_share_and_no_more(slots: FairSlots, asking: Asking) -> None:
    asking.ask("ann", 100)
    assert asking.granted == ["ann"] * 3
    asking.ask("bob")
    assert asking.granted == ["ann"] * 3 + ["bob"]
    slots.release("bob")
    assert len(asking.granted) == 4, "what bob gave back is not ann's"
    slots.release("ann")
    assert asking.granted[4:] == ["ann"]


def test_all_slots_are_used(asking: Asking) -> None:
    for number in range(10):
        asking.ask(f"user{number}", 3)
    assert len(asking.granted) == 24


def test_senders_take_turns(slots: FairSlots, asking: Asking) -> None:
    for number in range(8):
        asking.ask(f"user{number}", 3)
    asking.ask("ann", 2)
    asking.ask("bob", 2)
    asking.granted.clear()
    for number in range(4):
        slots.release(f"user{number}")
    assert asking.granted == ["ann", "bob", "ann", "bob"]


def test_a_small_number_of_slots_still_serves_one() -> None:
    small = Asking(FairSlots(2))
    small.ask("ann", 3)
    assert small.granted == ["ann"] * 2


def test_whoever_waits_gets_on(slots: FairSlots) -> None:
    done = threading.Semaphore(0)

    def use(sender: str) -> None:
        for _ in range(50):
            with slots.held(sender):
                pass
        done.release()

    for sender in ("ann", "bob", "cyd") * 20:
        threading.Thread(target=use, args=(sender,), daemon=True).start()
    assert all(done.acquire(timeout=20) for _ in range(60))


def test_a_slot_tells_whether_others_have_one_or_wait_for_one(
    slots: FairSlots, asking: Asking
) -> None:
    slots.acquire("ann")
    mine = Slot(slots, "ann")
    assert not mine.others_are_active
    mine.pause()
    assert not mine.others_are_active
    asking.ask("bob")
    assert mine.others_are_active
    slots.release("bob")
    assert not mine.others_are_active
    asking.ask("ann", 4)
    assert len(asking.granted) == 4, "one waits"
    assert mine.others_are_active


def test_a_request_is_woken_with_its_slot(slots: FairSlots, asking: Asking) -> None:
    slots.acquire("ann")
    mine = Slot(slots, "ann")
    woken: list[str] = []
    mine.take_again(lambda: woken.append("holds it"))
    assert woken == ["holds it"]
    asking.ask("ann", 3)
    assert len(asking.granted) == 2
    mine.pause()
    assert len(asking.granted) == 3
    mine.take_again(lambda: woken.append("first"))
    mine.take_again(lambda: woken.append("second"))
    assert woken == ["holds it"]
    asking.ask("ann", 2)
    slots.release("ann")
    # One slot, however many have asked for it.
    assert woken == ["holds it", "first", "second"]
    assert len(asking.granted) == 3
    slots.release("ann")
    assert len(asking.granted) == 4
    mine.release()
    assert len(asking.granted) == 5


def test_a_slot_that_comes_after_its_request_is_given_back(
    slots: FairSlots, asking: Asking
) -> None:
    slots.acquire("ann")
    mine = Slot(slots, "ann")
    asking.ask("ann", 3)
    mine.pause()
    assert len(asking.granted) == 3
    woken: list[bool] = []
    mine.take_again(lambda: woken.append(True))
    mine.release()
    asking.ask("ann")
    slots.release("ann")
    assert woken == [True]
    assert len(asking.granted) == 4
    # It is over, and needs no slot.
    mine.take_again(lambda: woken.append(True))
    assert woken == [True, True]
