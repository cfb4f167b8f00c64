"""Seats: one user may hold all, and shares bind while others ask."""

import pytest

from api.front import NoSeat, Seats


def test_one_alone_may_hold_all() -> None:
    seats = Seats(4)
    held = [seats.take("ann") for _ in range(4)]
    with pytest.raises(NoSeat):
        seats.take("ann")
    assert not any(seat.revoked.is_set() for seat in held)


def test_shares_bind_while_others_ask() -> None:
    seats = Seats(4)
    anns = [seats.take("ann") for _ in range(4)]
    bobs = [seats.take("bob"), seats.take("bob")]
    assert [seat.revoked.is_set() for seat in anns] == [True, True, False, False]
    with pytest.raises(NoSeat):
        seats.take("bob")
    with pytest.raises(NoSeat):
        seats.take("ann")
    cyd = seats.take("cyd")
    assert not cyd.revoked.is_set()
    assert sum(seat.revoked.is_set() for seat in anns + bobs) == 3


def test_a_seat_that_was_revoked_is_not_given_back_twice() -> None:
    seats = Seats(2)
    first, second = seats.take("ann"), seats.take("ann")
    bob = seats.take("bob")
    assert first.revoked.is_set()
    seats.leave(first)
    seats.leave(first)
    with pytest.raises(NoSeat):
        seats.take("ann")
    seats.leave(second)
    seats.leave(bob)
    assert [seats.take(name).user for name in ("cyd", "dan")] == ["cyd", "dan"]


def test_nobody_sits_where_there_are_no_seats() -> None:
    with pytest.raises(NoSeat), Seats(0).taken("ann"):
        pytest.fail("there is no seat")


def test_a_vacated_seat_is_free_at_once() -> None:
    seats = Seats(1)
    seat = seats.take("ann")
    seats.vacate(seat)
    bob = seats.take("bob")
    assert not bob.revoked.is_set()
    seats.leave(seat)
    with pytest.raises(NoSeat):
        seats.take("cyd")


def test_hanging_up_fast_makes_no_number_of_threads() -> None:
    seats = Seats(2)
    given_up = [seats.take("ann") for _ in range(2)]
    for seat in given_up:
        seats.vacate(seat)
        seats.vacate(seat)
    with pytest.raises(NoSeat):
        seats.take("ann")
    assert seats.take("bob").user == "bob"
    seats.leave(given_up[0])
    seats.leave(given_up[0])
    assert seats.take("ann").user == "ann"
    with pytest.raises(NoSeat):
        seats.take("ann")
