"""A job that is followed again: after a break, another attempt, or the loss of its stream."""

from typing import Any

import pytest

from shared.job_events import Speaker
from tests.api.harness import ApiHarness, Person, record
from tests.api.sse import Following, written
from tests.api.test_events import TEXT, _soon, end, job, say, speaker
from tests.services.redis import RedisServer

__all__ = ["_soon", "job", "speaker"]


def test_who_comes_back_has_no_gap_and_no_repeat(
    harness: ApiHarness, ann: Person, job: Any, speaker: Speaker
) -> None:
    claim = harness.claim(job["id"], "generate")
    first = Following(ann, job["id"])
    for start in range(0, 20, 5):
        say(speaker, claim, start, start + 5)
    last = first.until(lambda event: event.kind == "piece" and event.data["offset"] == 10)
    first.leave()
    second = Following(ann, job["id"], last.id)
    say(speaker, claim, 20, 25)
    second.until(lambda event: event.kind == "piece" and event.data["offset"] == 20)
    end(harness, speaker, claim)
    kept = first.seen[: first.seen.index(last) + 1]
    assert written([*kept, *second.to_the_end()]) == TEXT[:25]


def test_who_comes_back_after_another_attempt_has_no_repeat(
    harness: ApiHarness, ann: Person, job: Any, speaker: Speaker
) -> None:
    claim = harness.claim(job["id"], "generate")
    first = Following(ann, job["id"])
    say(speaker, claim, 0, 6)
    say(speaker, claim, 6, 12)
    last = first.until(lambda event: event.kind == "piece" and event.data["offset"] == 6)
    first.leave()
    harness.queue.release(claim)
    again = harness.claim(job["id"], "generate")
    speaker.say(again.job_id, again.attempt, "state", begins=True)
    second = Following(ann, job["id"], last.id)
    say(speaker, again, 0, 9)
    say(speaker, again, 9, 20)
    second.until(lambda event: event.kind == "piece")
    end(harness, speaker, again)
    assert written([*first.seen, *second.to_the_end()]) == TEXT[:20]


def test_nothing_comes_behind_the_end_of_what_ended_while_one_was_away(
    harness: ApiHarness, ann: Person, job: Any, speaker: Speaker
) -> None:
    claim = harness.claim(job["id"], "generate")
    first = Following(ann, job["id"])
    say(speaker, claim, 0, 6)
    last = first.until(lambda event: event.kind == "piece")
    first.leave()
    harness.queue.release(claim)
    again = harness.claim(job["id"], "generate")
    speaker.say(again.job_id, again.attempt, "state", begins=True)
    say(speaker, again, 0, 20)
    end(harness, speaker, again)
    events = Following(ann, job["id"], last.id).to_the_end()
    assert [event.id for event in events[-2:]] == ["2-end1", "2-end"]
    assert [event.kind for event in events].count("text") == 1


def test_an_old_attempt_is_not_shown_though_redis_lost_the_newer_one(
    harness: ApiHarness, ann: Person, job: Any, speaker: Speaker, redis_of_session: RedisServer
) -> None:
    claim = harness.claim(job["id"], "generate")
    harness.queue.release(claim)
    again = harness.claim(job["id"], "generate")
    speaker.say(again.job_id, again.attempt, "state", begins=True)
    assert speaker.flush()
    follower = Following(ann, job["id"])
    follower.until(lambda event: event.kind == "state")
    redis_of_session.flush()
    speaker.say(claim.job_id, claim.attempt, "piece", position=0, offset=0, text="a zombie's")
    assert speaker.flush()
    late = Following(ann, job["id"])
    say(speaker, again, 0, 5)
    for one in (follower, late):
        one.until(lambda event: event.kind == "piece")
    end(harness, speaker, again)
    for one in (follower, late):
        assert written(events := one.to_the_end()) == TEXT[:5]
        assert "zombie" not in str(events)


def test_a_stream_that_redis_lost_goes_on_from_the_rows(
    harness: ApiHarness,
    ann: Person,
    job: Any,
    speaker: Speaker,
    redis_of_session: RedisServer,
) -> None:
    claim = harness.claim(job["id"], "generate")
    follower = Following(ann, job["id"])
    say(speaker, claim, 0, 5)
    piece = follower.until(lambda event: event.kind == "piece")
    redis_of_session.flush()
    # Somebody who comes back with an id that nobody knows any more has everything again.
    other = Following(ann, job["id"], piece.id)
    state = other.next()
    assert state is not None
    assert state.data["status"] == "running"
    say(speaker, claim, 5, 9)
    follower.until(lambda event: event.kind == "piece" and event.data["offset"] == 5)
    redis_of_session.flush()
    harness.queue.succeed(claim, [record(0, TEXT, None)])
    for one in (follower, other):
        text, last = one.to_the_end()[-2:]
        assert text.data["text"] == TEXT
        assert last.data["status"] == "succeeded"


def test_an_end_that_nobody_spoke_of_is_found_in_the_row(
    harness: ApiHarness, ann: Person, job: Any, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.operations.event_stream.SELDOM_SECONDS", 0.5)
    claim = harness.claim(job["id"], "generate")
    follower = Following(ann, job["id"])
    say(speaker, claim, 0, 5)
    follower.until(lambda event: event.kind == "piece")
    harness.queue.succeed(claim, [record(0, TEXT, None)])
    assert follower.to_the_end()[-1].data["status"] == "succeeded"
