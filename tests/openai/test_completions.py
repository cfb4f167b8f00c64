"""``POST /openai/v1/completions``: each field, and what it becomes."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.api.harness import ApiHarness, Person, record
from tests.openai.calls import ROOT, answered, completions, in_background, queued, refused_field


def spec_of(harness: ApiHarness, person: Person, **body: Any) -> Any:
    """Return the spec of the job that a completion becomes."""
    with in_background(completions, person, model="orwell", **body) as future:
        [job] = queued(person)
        harness.write(job)
        assert future.result().status_code == 200, future.result().text
    return job["spec"]


def test_a_completion_has_every_field(harness: ApiHarness, ann: Person, model: Any) -> None:
    answer = answered(
        harness, ann, completions, ["one", "three"], model="orwell", prompt="It was", n=2
    )
    assert answer.status_code == 200, answer.text
    [job] = ann.items("/v1/jobs?kind=generate")
    body = answer.json
    assert body.pop("system_fingerprint").startswith("fp_")
    assert body == {
        "id": f"cmpl-{job['id']}",
        "object": "text_completion",
        "created": int(datetime.fromisoformat(job["created_at"]).timestamp()),
        "model": "orwell",
        "choices": [
            {"index": 0, "text": "one", "logprobs": None, "finish_reason": "length"},
            {"index": 1, "text": "three", "logprobs": None, "finish_reason": "length"},
        ],
        # The harness's worker says that it read «It ».
        "usage": {"prompt_tokens": 3, "completion_tokens": 8, "total_tokens": 11},
    }
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_each_field_reaches_the_job(harness: ApiHarness, ann: Person, model: Any) -> None:
    spec = spec_of(
        harness,
        ann,
        prompt="It was",
        max_tokens=9,
        temperature=1,
        top_p=0.5,
        top_k=7,
        repetition_penalty=1.5,
        n=2,
        best_of=2,
        seed=5,
        stop=["day", "clocks"],
        echo=True,
        logprobs=3,
    )
    assert spec == {
        "checkpoint": "best",
        "prompt": "It was",
        "length": 9,
        "temperatures": [1.0],
        "top_k": 7,
        "top_p": 0.5,
        "n": 2,
        "seed": 5,
        "repetition_penalty": 1.5,
        "stop": ["day", "clocks"],
        "echo": True,
        "logprobs": True,
        "top_logprobs": 3,
        "score": False,
    }


def test_nulls_and_neutral_values_change_nothing(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    plain = spec_of(harness, ann, prompt="It was", seed=5)
    nothing = {
        **dict.fromkeys(("max_tokens", "temperature", "n", "best_of", "echo", "logprobs")),
        **dict.fromkeys(("stream", "stream_options", "logit_bias", "suffix", "user", "seen_never")),
    }
    assert spec_of(harness, ann, prompt="It was", seed=5, **nothing) == plain
    neutral = {
        "top_p": 1,
        "top_k": -1,
        "n": 1,
        "best_of": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "suffix": "",
        "stop": [],
        "user": "ann",
        "metadata": {"a": "b"},
        "store": False,
        "service_tier": "auto",
        "stream": False,
    }
    assert spec_of(harness, ann, prompt="It was", seed=5, **neutral) == plain
    for stop in ("", ["", None], [""]):
        assert spec_of(harness, ann, prompt="It was", seed=5, stop=stop) == plain


def test_one_stop_may_be_a_string(harness: ApiHarness, ann: Person, model: Any) -> None:
    assert spec_of(harness, ann, prompt="It was", stop="day")["stop"] == ["day"]


def test_without_a_prompt_a_text_begins_with_a_piece_of_the_corpus(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    bodies: list[dict[str, Any]] = [{}, {"prompt": ""}, {"prompt": None}, {"prompt": [""]}]
    for body in bodies:
        assert spec_of(harness, ann, **body)["prompt"] is None


def test_several_prompts_are_jobs_of_one_request(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    answer = answered(
        harness,
        ann,
        completions,
        ["a", "b"],
        ["c", "d"],
        model="orwell",
        prompt=["It was", "the clocks"],
        n=2,
    )
    jobs = ann.items("/v1/jobs?kind=generate")[::-1]
    assert [job["spec"]["prompt"] for job in jobs] == ["It was", "the clocks"]
    assert answer.json["id"] == f"cmpl-{jobs[0]['id']}"
    assert [(c["index"], c["text"]) for c in answer.json["choices"]] == [*enumerate("abcd")]
    assert answer.json["usage"] == {
        "prompt_tokens": 6,
        "completion_tokens": 4,
        "total_tokens": 10,
    }


def test_of_several_prompts_all_are_submitted_or_none(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    answer = completions(ann, model="orwell", prompt=["It was", "\N{SNOWMAN}"])
    field, message = refused_field(answer)
    assert field == "prompt"
    assert "U+2603" in message
    assert "unknown" in message
    many = completions(ann, model="orwell", prompt=["It was"] * 13)
    assert many.status_code == 429
    assert ann.items("/v1/jobs?kind=generate") == []


def test_echo_returns_the_prompt_as_well(harness: ApiHarness, ann: Person, model: Any) -> None:
    with in_background(completions, ann, model="orwell", prompt="It ", echo=True) as future:
        [job] = queued(ann)
        claim = harness.claim(job["id"], "generate")
        harness.queue.succeed(claim, [record(0, "was", None, echo=True)])
    body = future.result().json
    assert body["choices"][0]["text"] == "It was"
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


@pytest.mark.parametrize("count", [0, 2])
def test_log_probabilities_are_those_of_the_tokens_written(
    harness: ApiHarness, ann: Person, model: Any, count: int
) -> None:
    body = {"model": "orwell", "prompt": "It ", "echo": True, "logprobs": count}
    with in_background(completions, ann, **body) as future:
        [job] = queued(ann)
        claim = harness.claim(job["id"], "generate")
        harness.queue.succeed(
            claim,
            [
                record(
                    0,
                    "was",
                    None,
                    echo=True,
                    logprobs=[-0.5, -1.5, -0.25],
                    top_logprobs=[[("w", -0.5)], [("e", -1.0), ("a", -1.5)], [("s", -0.25)]]
                    if count
                    else None,
                )
            ],
        )
    assert future.result().json["choices"][0]["logprobs"] == {
        "tokens": list("It was"),
        "token_logprobs": [None, None, None, -0.5, -1.5, -0.25],
        "top_logprobs": [None, None, None, {"w": -0.5}, {"e": -1.0, "a": -1.5}, {"s": -0.25}]
        if count
        else None,
        "text_offset": [0, 1, 2, 3, 4, 5],
    }


def test_a_token_of_a_word_model_is_a_word(harness: ApiHarness, ann: Person) -> None:
    harness.model(ann, name="words", tokenizer="word")
    body = {"model": "words", "prompt": "It was", "max_tokens": 9, "n": 3}
    with in_background(completions, ann, **body) as future:
        [job] = queued(ann)
        claim = harness.claim(job["id"], "generate")
        # Seven tokens of 1.5 nats each, in a text of 20 characters.
        bits = 7 * 1.5 / 0.6931471805599453 / 20
        means = {"mean_logprob": -1.5, "bits_per_char": bits}
        stopped = [record(1, "the clocks, all of i", None, **means), record(2, "", None)]
        ended = [replace(text, finish_reason="stop") for text in stopped]
        harness.queue.succeed(claim, [record(0, "a bright day", None), *ended])
    body = future.result().json
    assert [choice["finish_reason"] for choice in body["choices"]] == ["length", "stop", "stop"]
    # «It» and its space; then 9 that the length counts, 7 that the means count, and none.
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 16, "total_tokens": 18}
    field, _ = refused_field(completions(ann, model="words", prompt="It", logprobs=0))
    assert field == "logprobs"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"best_of": 2}, "best_of"),
    ({"best_of": 1, "n": 2}, "best_of"),
    ({"prompt": [1, 2, 3]}, "prompt"),
    ({"prompt": [[1, 2], [3]]}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": 5}, "prompt.0"),
    ({"prompt": ["It"] * 65}, "prompt"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 10**6}, "max_tokens"),
    ({"max_tokens": 20_000, "n": 64}, "max_tokens"),
    ({"max_tokens": "9"}, "max_tokens"),
    ({"temperature": -1}, "temperature"),
    ({"temperature": 11}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.5}, "top_p"),
    ({"n": 0}, "n"),
    ({"n": 65}, "n"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**53}, "seed"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": 5}, "stop.0"),
    ({"stop": "\N{SNOWMAN}"}, "stop"),
    ({"suffix": "end"}, "suffix"),
    ({"presence_penalty": 0.5}, "presence_penalty"),
    ({"frequency_penalty": -0.5}, "frequency_penalty"),
    ({"logit_bias": {"50256": -100}}, "logit_bias"),
    ({"logprobs": 6}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
    ({"unknown": "drop"}, "unknown"),
    ({"top_k": 0.5}, "top_k"),
    ({"tempreature": 0.5}, "tempreature"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"prompt": "a\x00b"}, "prompt"),
]


def test_what_can_not_be_done_is_a_400_that_names_the_field(ann: Person, model: Any) -> None:
    for fields, field in REFUSED:
        body = {"model": "orwell", "prompt": "It was", **fields}
        named, message = refused_field(ann.post(f"{ROOT}/completions", body))
        assert named == field, (fields, message)
        assert message.startswith(f"{field}: ")
    assert ann.items("/v1/jobs?kind=generate") == []


def test_two_errors_are_told_at_once(ann: Person, model: Any) -> None:
    field, message = refused_field(completions(ann, model="orwell", n=0, seed=-1))
    assert field in ("n", "seed")
    assert "n: " in message
    assert "seed: " in message


def test_a_message_has_no_name_of_another_api(ann: Person, model: Any) -> None:
    _, message = refused_field(completions(ann, model="orwell", max_tokens=20_000, n=64))
    assert "Lower max_tokens to 15625" in message
    assert "length" not in message


def test_a_required_field_is_asked_for(ann: Person) -> None:
    field, message = refused_field(completions(ann, prompt="It was"))
    assert (field, message) == ("model", "model: required")
    assert completions(ann).json["error"]["code"] == "missing_required_parameter"


def test_the_fingerprint_changes_with_what_decides_the_bits(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    def fingerprint(**body: Any) -> str:
        answer = answered(harness, ann, completions, ["a"], prompt="It", **body)
        return str(answer.json["system_fingerprint"])

    first = fingerprint(model="orwell")
    assert fingerprint(model="orwell", seed=9, temperature=1) == first
    harness.model(ann, name="other", seed=5)
    # The harness's checkpoints of one step are equal.
    assert fingerprint(model="other") == first
    job = ann.train(model["corpus"], name="longer")
    claim = harness.claim(job["id"])
    harness.checkpoint(claim, 200)
    harness.queue.succeed(claim)
    assert fingerprint(model="longer") != first
