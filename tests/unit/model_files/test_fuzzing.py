"""Files of models with anything anywhere: refused, or the same model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.model_files.header import RefusedFile
from tests.unit.model_files.parts import (
    DIGEST,
    WHOLE,
    Parts,
    checked,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
fuzzed = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a JSON document."""
    found = [way] if way else []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items if isinstance(value, (dict, list)) else ():
        found += places(each, (*way, key)) if isinstance(each, (dict, list)) else [(*way, key)]
    return found


def assert_refused_or_same(data: bytes, directory: Path) -> None:
    try:
        facts = checked(data, directory)
    except RefusedFile:
        return
    # What was taken in spite of the change has the very numbers, and JSON that a row can hold.
    assert facts["digest"] == DIGEST
    json.dumps(facts, allow_nan=False).encode()


@given(st.data())
@fuzzed
def test_no_json_makes_the_reader_fail(tmp_path: Path, data: st.DataObject) -> None:
    parts = Parts()
    root = data.draw(st.sampled_from(["header", "quire", "about"]))
    way = data.draw(st.sampled_from(places(getattr(parts, root))))
    place = getattr(parts, root)
    for key in way[:-1]:
        place = place[key]
    if data.draw(st.booleans()) and isinstance(place, dict):
        del place[way[-1]]
    else:
        place[way[-1]] = data.draw(json_values)
    assert_refused_or_same(parts.bytes(), tmp_path)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4))
@fuzzed
def test_no_bytes_make_the_reader_fail(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for place, byte in changes:
        data[place] = byte
    assert_refused_or_same(bytes(data), tmp_path)


@given(st.integers(0, len(WHOLE)), st.binary(max_size=64))
@fuzzed
def test_no_cut_makes_the_reader_fail(tmp_path: Path, place: int, more: bytes) -> None:
    assert_refused_or_same(WHOLE[:place] + more, tmp_path)


def test_numbers_in_another_order_are_the_same_model(tmp_path: Path) -> None:
    parts = Parts()
    arrays = {
        name: bytes(parts.numbers[slice(*entry["data_offsets"])])
        for name, entry in parts.header.items()
    }
    parts.numbers.clear()
    for name in np.random.default_rng(0).permutation(sorted(arrays)):
        begin = len(parts.numbers)
        parts.numbers += arrays[name]
        parts.header[name]["data_offsets"] = [begin, len(parts.numbers)]
    assert checked(parts.bytes(), tmp_path)["digest"] == DIGEST
