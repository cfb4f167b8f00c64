"""Ids: UUIDs of version 7 that sort as they were made."""

import time
import uuid

from shared.ids import new_id


def test_ids_are_of_version_7_and_tell_their_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_of_one_millisecond_sort_as_they_were_made() -> None:
    made = []
    for _ in range(2000):
        made.append(new_id())
        began = time.perf_counter_ns()
        while time.perf_counter_ns() - began < 1000:  # a row takes longer
            pass
    assert made == sorted(made)
    assert len(set(made)) == len(made)
