"""What a text tells: where it stops, how it was drawn, what its characters are worth."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.batch_runner import ENDLESS, bare_world, make_model, run, write
from tests.worker.harness import World


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with bare_world(database_url, tmp_path) as world:
        yield world


@pytest.fixture
def model(world: World) -> str:
    return make_model(world)


def test_a_text_ends_before_its_stop_string(world: World, model: str) -> None:
    [whole] = write(world, model, length=600, temperatures=(1.0,), logprobs=True)
    stop = whole.text[300:303]
    at = whole.text.find(stop)
    stops = ["§", whole.text[500:520], stop]
    [text] = write(world, model, length=600, temperatures=(1.0,), stop=stops, logprobs=True)
    assert text.text == whole.text[:at]
    assert text.finish_reason == "stop"
    assert whole.finish_reason == "length"
    assert text.logprobs == whole.logprobs[:at]
    first = write(world, model, length=50, temperatures=(1.0,), stop=[whole.text[0]])[0]
    assert (first.text, first.finish_reason, first.bits_per_char) == ("", "stop", None)


def test_a_score_is_the_mean_of_what_its_characters_are_worth(world: World, model: str) -> None:
    [written] = write(world, model, prompt="The", length=50, temperatures=(1.0,), logprobs=True)
    whole = "The" + written.text
    asked = {"prompt": whole, "length": 0, "score": True, "temperatures": (1.0,), "logprobs": True}
    [scored] = write(world, model, **asked)
    assert (scored.prompt, scored.text, scored.finish_reason) == (whole, "", "scored")
    assert len(scored.logprobs) == len(whole) - 1
    assert scored.logprobs[2:] == pytest.approx(written.logprobs, abs=1e-4)
    nats = sum(scored.logprobs) / len(scored.logprobs)
    assert scored.mean_logprob == pytest.approx(nats, abs=1e-4)
    assert scored.bits_per_char == pytest.approx(-nats / 0.693147, rel=1e-3)
    [nothing] = write(world, model, **{**asked, "prompt": "T"})
    assert (nothing.bits_per_char, nothing.mean_logprob, nothing.logprobs) == (None, None, [])


def test_a_text_tells_how_it_was_drawn(world: World, model: str) -> None:
    temperatures = ({"from": 1.2, "to": 0.4}, 0.7)
    first, second = write(
        world, model, temperatures=temperatures, repetition_penalty=1.2, echo=True
    )
    assert (first.temperature, first.temperature_to) == (1.2, 0.4)
    assert (second.temperature, second.temperature_to) == (0.7, None)
    assert (first.repetition_penalty, first.echo, first.logprobs) == (1.2, True, None)
    assert first.mean_logprob < 0 < first.bits_per_char


def test_a_deadline_keeps_what_was_written_until_then(world: World, model: str) -> None:
    asked = {"n": 2, "temperatures": (1.0,)}
    whole, other = write(world, model, length=200, **asked)
    long = {"length": ENDLESS, "stop": [whole.text[100:120]], "order": {"deadline_seconds": 0.5}}
    job_id = world.generate(model, wake=False, **asked, **long)
    run(world)
    error = world.job(job_id).error
    assert error is not None
    assert error["type"] == "/problems/deadline-reached"
    stopped, cut = world.texts(job_id)
    assert (stopped.text, stopped.finish_reason) == (whole.text[:100], "stop")
    assert (cut.text[:200], cut.finish_reason) == (other.text, "deadline")
    assert len(cut.text) < ENDLESS
