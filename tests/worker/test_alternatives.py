"""What a worker tells of a text beside it: alternatives, copies, and what may follow a prompt."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.batch_runner import bare_harness, make_model, run, write
from tests.worker.harness import WorkerHarness, some_text
from worker.ml.words import frequent_words


@pytest.fixture
def harness(database_url: str, tmp_path: Path) -> Iterator[WorkerHarness]:
    with bare_harness(database_url, tmp_path) as harness:
        yield harness


def test_alternatives_change_nothing_else_of_a_text(harness: WorkerHarness) -> None:
    model = make_model(harness)
    asked = {"length": 300, "temperatures": (0.9,), "logprobs": True, "prompt": "The"}
    [plain] = write(harness, model, **asked)
    stop = plain.text[200:203]
    [told] = write(harness, model, **asked, top_logprobs=4, stop=[stop])
    assert told.text == plain.text[: plain.text.find(stop)]
    assert "".join(told.tokens) == told.text
    assert told.logprobs == plain.logprobs[: len(told.text)]
    assert len(told.top_logprobs) == len(told.tokens)
    for token, logprob, likeliest in zip(
        told.tokens, told.logprobs, told.top_logprobs, strict=True
    ):
        assert len(likeliest) == 4
        values = [value for _, value in likeliest]
        assert values == sorted(values, reverse=True)
        assert dict(map(tuple, likeliest)).get(token, logprob) == pytest.approx(logprob, abs=1e-4)
        assert logprob <= values[0] + 1e-4
    assert plain.top_logprobs is plain.tokens is plain.copied_spans is None


def test_copies_are_told_if_asked(harness: WorkerHarness) -> None:
    text = some_text()
    model = make_model(harness)
    [told] = write(harness, model, prompt="The", temperatures=(0.5,), copied_spans=True)
    assert isinstance(told.copied_spans, list)
    for at, length, source in told.copied_spans:
        assert told.text[at : at + length] == text[source : source + length]


@pytest.mark.parametrize("words", [0, 40])
def test_what_may_follow_a_prompt_sums_up_to_one(harness: WorkerHarness, words: int) -> None:
    model = make_model(harness, words=frequent_words([some_text()[:5000]], words))
    asked = {"prompt": "The ", "length": 1, "temperatures": (0.0, 0.5, 1.0)}
    [told] = write(harness, model, **asked, next={"top": 1000})
    assert (told.text, told.finish_reason, told.seed) == ("", "next", 0)
    coldest, cold, plain = told.next_tokens
    assert [each["temperature"] for each in told.next_tokens] == [0.0, 0.5, 1.0]
    assert coldest["tokens"][0][1] == 1.0
    assert coldest["entropy_bits"] == 0.0
    for found in (cold, plain):
        values = [value for _, value in found["tokens"]]
        assert values == sorted(values, reverse=True)
        assert math.fsum(values) + found["rest"] == pytest.approx(1.0, abs=1e-5)
    assert cold["entropy_bits"] < plain["entropy_bits"]
    squared = [value**2 for _, value in plain["tokens"]]
    assert cold["tokens"][0][1] == pytest.approx(squared[0] / math.fsum(squared), rel=1e-3)
    # The network gives a written token the probability that was foretold.
    [written] = write(
        harness, model, prompt="The ", length=1, temperatures=(1.0,), logprobs=True, top_logprobs=1
    )
    foretold = dict(map(tuple, plain["tokens"]))
    assert foretold[written.tokens[0]] == pytest.approx(math.exp(written.logprobs[0]), rel=1e-3)
    [few] = write(harness, model, **asked, next={"top": 3})
    assert [len(each["tokens"]) for each in few.next_tokens] == [3, 3, 3]
    assert few.next_tokens[2]["rest"] > 0


def test_looks_ahead_share_batches_with_texts(harness: WorkerHarness) -> None:
    model = make_model(harness)
    look = {"prompt": "The", "length": 1, "temperatures": (1.0,), "next": {"top": 5}}
    text = {"prompt": "The", "length": 60, "temperatures": (1.0,)}
    [alone] = write(harness, model, **look)
    [first, other] = [
        write(harness, model, **text, **more)[0] for more in ({}, {"top_logprobs": 3})
    ]
    jobs = [
        harness.generate(model, wake=False, **each)
        for each in (look, text, text | {"top_logprobs": 3}, look)
    ]
    run(harness)
    found = [harness.texts(job)[0] for job in jobs]
    assert found[0].next_tokens == found[3].next_tokens == alone.next_tokens
    assert found[1].text == found[2].text == first.text == other.text
    assert found[2].top_logprobs == other.top_logprobs
