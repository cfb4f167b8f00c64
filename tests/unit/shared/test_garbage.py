"""While a process loads, nothing is collected; afterwards nobody looks at what was loaded."""

import gc

import pytest

from shared.process.garbage import loading


def looked_at(thing: object) -> bool:
    return any(each is thing for each in gc.get_objects())


def test_what_was_loaded_is_not_looked_at_again() -> None:
    with loading():
        assert not gc.isenabled()
        loaded: dict[str, list[int]] = {"a": []}
        assert looked_at(loaded)
    assert gc.isenabled()
    assert not looked_at(loaded)
    later: dict[str, list[int]] = {"a": []}
    assert looked_at(later)


def test_an_error_leaves_the_collector_as_it_was() -> None:
    with pytest.raises(KeyError), loading():
        raise KeyError
    assert gc.isenabled()

    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
