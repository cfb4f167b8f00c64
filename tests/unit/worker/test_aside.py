"""Calls on another thread: their order, their errors, and the wait for the last one."""

import threading
from collections.abc import Callable
from functools import partial

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from tests.services.waiting import PATIENCE_SECONDS
from worker.handlers.aside import Aside


def raising(message: str) -> Callable[[], None]:
    def call() -> None:
        raise ValueError(message)

    return call


def test_the_owner_goes_on_while_a_call_is_made() -> None:
    gate = threading.Event()
    done: list[object] = []
    with Aside("test") as aside:
        aside.run(lambda: done.append(gate.wait(PATIENCE_SECONDS)))
        assert not aside.offer(lambda: done.append("offered"))
        assert done == []
        gate.set()
        aside.wait()
        assert aside.offer(lambda: done.append("offered later"))
    assert done == [True, "offered later"]


def test_calls_are_made_one_at_a_time_in_their_order() -> None:
    done: list[int] = []
    threads: list[int] = []

    def call(number: int) -> None:
        done.append(number)
        threads.append(threading.get_ident())

    with Aside("test") as aside:
        for number in range(50):
            aside.run(partial(call, number))
    assert done == list(range(50))
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


def test_inline_a_call_is_over_when_it_returns() -> None:
    threads = []
    with Aside("test", inline=True) as aside:
        aside.run(lambda: threads.append(threading.get_ident()))
        assert aside.offer(lambda: threads.append(threading.get_ident()))
        assert threads == [threading.get_ident()] * 2
        with pytest.raises(ValueError, match="now"):
            aside.run(raising("now"))


def test_an_error_is_raised_once_by_the_next_use() -> None:
    done: list[str] = []
    with Aside("test") as aside:
        aside.run(raising("first"))
        with pytest.raises(ValueError, match="first"):
            aside.run(lambda: done.append("never"))
        aside.run(lambda: done.append("after it"))
        aside.run(raising("second"))
        with pytest.raises(ValueError, match="second"):
            aside.wait()
        aside.wait()
    assert done == ["after it"]


def test_an_error_of_the_last_call_is_raised_at_the_end() -> None:
    with pytest.raises(ValueError, match="last"), Aside("test") as aside:
        aside.run(raising("last"))


def test_the_end_waits_for_the_last_call_after_an_error_of_the_owner() -> None:
    gate, done = threading.Event(), []

    def fail() -> None:
        with Aside("test") as aside:
            aside.run(lambda: done.append(gate.wait(PATIENCE_SECONDS)))
            raise KeyError

    threading.Timer(0.2, gate.set).start()
    with pytest.raises(KeyError):
        fail()
    assert done == [True]


def test_a_call_logs_with_the_names_of_its_job() -> None:
    seen = []
    with Aside("test") as aside, bound_contextvars(job="a job"):
        aside.run(lambda: seen.append(get_contextvars()["job"]))
    assert seen == ["a job"]
