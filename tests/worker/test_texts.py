"""A stored text: where it stops, how it was sampled, and its log-probabilities."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.batch_runner import ENDLESS, bare_harness, make_model, run, write
from tests.worker.harness import WorkerHarness


@pytest.fixture
def harness(database_url: str, tmp_path: Path) -> Iterator[WorkerHarness]:
    with bare_harness(database_url, tmp_path) as harness:
        yield harness


@pytest.fixture
def model(harness: WorkerHarness) -> str:
    return make_model(harness)


def test_a_text_ends_before_its_stop_string(harness: WorkerHarness, model: str) -> None:
    [whole] = write(harness, model, length=600, temperatures=(1.0,), logprobs=True)
    stop = whole.text[300:303]
    at = whole.text.find(stop)
    stops = ["§", whole.text[500:520], stop]
    [text] = write(harness, model, length=600, temperatures=(1.0,), stop=stops, logprobs=True)
    assert text.text == whole.text[:at]
    assert text.finish_reason == "stop"
    assert whole.finish_reason == "length"
    assert text.logprobs == whole.logprobs[:at]
    first = write(harness, model, length=50, temperatures=(1.0,), stop=[whole.text[0]])[0]
    assert (first.text, first.finish_reason, first.bits_per_char) == ("", "stop", None)


def test_a_score_is_the_mean_log_probability_of_its_characters(
    harness: WorkerHarness, model: str
) -> None:
    [written] = write(harness, model, prompt="The", length=50, temperatures=(1.0,), logprobs=True)
    whole = "The" + written.text
    asked = {"prompt": whole, "length": 0, "score": True, "temperatures": (1.0,), "logprobs": True}
    [scored] = write(harness, model, **asked)
    assert (scored.prompt, scored.text, scored.finish_reason) == (whole, "", "scored")
    assert len(scored.logprobs) == len(whole) - 1
    assert scored.logprobs[2:] == pytest.approx(written.logprobs, abs=1e-4)
    nats = sum(scored.logprobs) / len(scored.logprobs)
    assert scored.mean_logprob == pytest.approx(nats, abs=1e-4)
    assert scored.bits_per_char == pytest.approx(-nats / 0.693147, rel=1e-3)
    [nothing] = write(harness, model, **{**asked, "prompt": "T"})
    assert (nothing.bits_per_char, nothing.mean_logprob, nothing.logprobs) == (None, None, [])


def test_a_text_records_how_it_was_sampled(harness: WorkerHarness, model: str) -> None:
    temperatures = ({"from": 1.2, "to": 0.4}, 0.7)
    first, second = write(
        harness, model, temperatures=temperatures, repetition_penalty=1.2, echo=True
    )
    assert (first.temperature, first.temperature_to) == (1.2, 0.4)
    assert (second.temperature, second.temperature_to) == (0.7, None)
    assert (first.repetition_penalty, first.echo, first.logprobs) == (1.2, True, None)
    assert first.mean_logprob < 0 < first.bits_per_char


def test_a_deadline_keeps_the_texts_written_so_far(harness: WorkerHarness, model: str) -> None:
    asked = {"n": 2, "temperatures": (1.0,)}
    whole, other = write(harness, model, length=200, **asked)
    long = {
        "length": ENDLESS,
        "stop": [whole.text[100:120]],
        "scheduling": {"deadline_seconds": 0.5},
    }
    job_id = harness.generate(model, wake=False, **asked, **long)
    run(harness)
    error = harness.job(job_id).error
    assert error is not None
    assert error["type"] == "/problems/deadline-reached"
    stopped, cut = harness.texts(job_id)
    assert (stopped.text, stopped.finish_reason) == (whole.text[:100], "stop")
    assert (cut.text[:200], cut.finish_reason) == (other.text, "deadline")
    assert len(cut.text) < ENDLESS
