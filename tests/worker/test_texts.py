"""A stored text: where it stops, how it was sampled, and its log-probabilities."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worker.batch_runner import (
    ENDLESS,
    SMALL,
    bare_harness,
    make_batch_runner,
    make_model,
    run,
    running,
    write,
)
from tests.worker.harness import WorkerHarness, some_text, until
from worker.ml.words import frequent_words


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


#: What a score of a corpus asks for.
READS = {"prompt": None, "length": 0, "score": True, "temperatures": (1.0,)}


def score_of_corpus(harness: WorkerHarness, model: str, text: str, unknown: str = "error") -> Any:
    """The job of the score of a text that is kept as a corpus, which has ended."""
    job_id = harness.generate(
        model,
        wake=False,
        corpus_id=harness.corpus(text),
        fitting={"unknown": unknown, "normal_form": None},
        **READS,
    )
    run(harness)
    return harness.job(job_id)


@pytest.mark.parametrize("words", [0, 40])
def test_a_score_in_pieces_has_the_same_bits(
    harness: WorkerHarness, words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = some_text()[:5000]
    model = make_model(harness, words=frequent_words([text], words))
    asked = READS | {"prompt": text, "logprobs": True}
    [whole] = write(harness, model, **asked)
    assert whole.bits_per_char > 0
    for tokens in (50, 701, 4999):
        monkeypatch.setattr("worker.handlers.generate.PIECE_TOKENS", tokens)
        [pieces] = write(harness, model, **asked)
        assert pieces.bits_per_char == whole.bits_per_char
        assert pieces.mean_logprob == whole.mean_logprob
        assert pieces.logprobs == whole.logprobs
        [kept] = harness.texts(score_of_corpus(harness, model, text).id)
        assert (kept.bits_per_char, kept.prompt) == (whole.bits_per_char, "")


def test_a_network_with_a_window_scores_the_same_in_pieces(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(harness, network=replace(SMALL, window=12))
    asked = READS | {"prompt": some_text()[:1500]}
    [whole] = write(harness, model, **asked)
    monkeypatch.setattr("worker.handlers.generate.PIECE_TOKENS", 311)
    [pieces] = write(harness, model, **asked)
    assert pieces.bits_per_char == whole.bits_per_char


def test_a_scored_corpus_is_brought_to_the_vocabulary(harness: WorkerHarness, model: str) -> None:
    text = some_text()[:300]
    strange = text[:100] + "€" + text[100:] + "e\u0301"
    [plain] = harness.texts(score_of_corpus(harness, model, text).id)
    [skipped] = harness.texts(score_of_corpus(harness, model, strange, "skip").id)
    assert skipped.bits_per_char == plain.bits_per_char
    for asked, unknown, slug in (
        (strange, "error", "unknown-character"),
        ("€€", "skip", "nothing-to-score"),
    ):
        job = score_of_corpus(harness, model, asked, unknown)
        assert job.status == "failed"
        assert job.error["type"] == f"/problems/{slug}"


def test_a_long_score_tells_its_progress_lets_others_pass_and_is_cancelled(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("generate", "score_run"):
        monkeypatch.setattr(f"worker.handlers.{module}.PIECE_TOKENS", 1000)
    text = some_text() * (ENDLESS // len(some_text()))
    long = harness.generate(
        model,
        wake=False,
        corpus_id=harness.corpus(text),
        fitting={"unknown": "error", "normal_form": None},
        **READS,
    )
    with running(make_batch_runner(harness)):
        until(lambda: harness.job(long).progress, "the progress")
        short = harness.generate(model, wake=False, user="bob")
        harness.wait_until_succeeded(short)
        job = harness.job(long)
        assert job.status == "running"
        assert 1000 <= job.progress["step"] < job.progress["steps_total"] == len(text)
        harness.cancel(long)
        assert harness.wait_until_ended(long).status == "cancelled"
    assert harness.texts(long) == []
