"""Slots: one sender may have all, and has a share while others ask."""

import threading
import time

import pytest

from api.front import FairSlots
from api.front.slots import RECENT_SECONDS


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
    return FairSlots(16)  # a share is two


@pytest.fixture
def asking(slots: FairSlots) -> Asking:
    return Asking(slots)


def test_one_alone_may_hold_all(slots: FairSlots, asking: Asking) -> None:
    asking.ask("ann", 20)
    assert len(asking.granted) == 16
    for _ in range(4):
        slots.release("ann")
    assert len(asking.granted) == 20


def test_senders_take_turns(slots: FairSlots, asking: Asking) -> None:
    asking.ask("ann", 100)
    asking.ask("bob", 2)
    asking.granted.clear()
    slots.release("ann")
    slots.release("ann")
    assert asking.granted == ["bob", "bob"]


def test_a_share_binds_while_another_asks(slots: FairSlots, asking: Asking) -> None:
    asking.ask("ann", 100)
    asking.ask("bob")
    asking.granted.clear()
    for _ in range(14):
        slots.release("ann")
    assert asking.granted == ["bob"], "ann holds her share, and gets no more"
    slots.release("ann")
    assert asking.granted == ["bob", "ann"]


def test_all_slots_are_one_senders_again_when_others_are_gone(
    slots: FairSlots, asking: Asking
) -> None:
    asking.ask("ann", 100)
    asking.ask("bob")
    for _ in range(14):
        slots.release("ann")
    slots.release("bob")
    time.sleep(RECENT_SECONDS + 0.1)
    asking.granted.clear()
    slots.release("ann")
    assert asking.granted == ["ann"] * 15


def test_whoever_waits_beyond_the_share_gets_on(slots: FairSlots) -> None:
    done = threading.Semaphore(0)

    def use(sender: str) -> None:
        for _ in range(50):
            with slots.held(sender):
                pass
        done.release()

    for sender in ("ann", "bob", "cyd") * 20:
        threading.Thread(target=use, args=(sender,), daemon=True).start()
    assert all(done.acquire(timeout=20) for _ in range(60))
