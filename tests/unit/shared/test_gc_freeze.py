"""While a process loads, nothing is collected; later collections skip what was loaded."""

import gc
import weakref

import pytest

from shared.process.gc_freeze import gc_frozen_after_load


def is_visited(thing: object) -> bool:
    return any(each is thing for each in gc.get_objects())


def test_what_was_loaded_is_not_visited_again() -> None:
    with gc_frozen_after_load():
        assert not gc.isenabled()
        loaded: dict[str, list[int]] = {"a": []}
        assert is_visited(loaded)
    assert gc.isenabled()
    assert not is_visited(loaded)
    later: dict[str, list[int]] = {"a": []}
    assert is_visited(later)


class _Cycle:
    def __init__(self) -> None:
        self.own = self


def test_garbage_is_freed_first() -> None:
    with gc_frozen_after_load():
        garbage = weakref.ref(_Cycle())
        assert garbage() is not None
    assert garbage() is None


def test_an_error_leaves_the_collector_as_it_was() -> None:
    with pytest.raises(KeyError), gc_frozen_after_load():
        raise KeyError
    assert gc.isenabled()

    gc.disable()
    try:
        with gc_frozen_after_load():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
