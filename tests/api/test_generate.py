"""``POST /v1/generate`` and ``/v1/score``: prompts, bounds, checkpoints and texts."""

from dataclasses import replace
from typing import Any

import pytest

from tests.api.harness import ENGLISH, ApiHarness, Person, problem, record

#: No «q», no «x», no digit; only what ENGLISH has.
VOCABULARY = "".join(sorted(set(ENGLISH)))


def ask(person: Person, model: str, **fields: Any) -> Any:
    return person.post("/v1/generate", {"model": model, **fields})


def test_an_ended_generation_has_its_texts(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)
    answer = ask(ann, model["id"], prompt="It was", seed=5, temperature=[0.2, 1], n=2, length=9)
    assert answer.status_code == 202
    job = answer.json
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["model"], job["corpus"]) == (model["id"], model["corpus"])
    assert job["spec"] == {
        "checkpoint": "best",
        "prompt": "It was",
        "length": 9,
        "temperatures": [0.2, 1.0],
        "top_k": None,
        "top_p": None,
        "n": 2,
        "seed": 5,
        "repetition_penalty": 1.0,
        "stop": [],
        "echo": False,
        "logprobs": False,
        "score": False,
        "items": False,
    }
    assert "texts" not in job
    assert "checkpoints" not in job
    harness.write(job, ["one", "two", "three", "four"])
    done = ann.get(f"/v1/jobs/{job['id']}").json
    assert done["status"] == "succeeded"
    assert [text["text"] for text in done["texts"]] == ["one", "two", "three", "four"]
    assert [text["index"] for text in done["texts"]] == [0, 1, 2, 3]
    first = done["texts"][0]
    assert (first["job"], first["model"], first["owner"]) == (job["id"], model["id"], "ann")
    assert first["checkpoint"] == model["checkpoints"]["best"]
    assert (first["requested"], first["epoch"], first["finish_reason"]) == (True, None, "length")
    alone = ann.get(f"/v1/texts/{first['id']}").json
    lineage = alone.pop("lineage")
    assert alone == first
    assert (lineage["corpus"], lineage["model"]) == (model["corpus"], model["id"])
    assert (lineage["job"], lineage["checkpoint"]) == (model["job"], first["checkpoint"])
    assert lineage["corpus_sha256"] == model["corpus_sha256"]
    assert ann.items(f"/v1/jobs/{job['id']}/texts") == done["texts"]
    assert "texts" not in ann.items("/v1/jobs")[0]


def test_defaults(harness: ApiHarness, ann: Person) -> None:
    spec = ask(ann, harness.model(ann)["id"]).json["spec"]
    assert (spec["prompt"], spec["length"], spec["temperatures"]) == (None, 400, [0.5])
    assert 0 <= spec["seed"] < 2**53


def test_other_users_write_with_a_shared_model(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = harness.model(ann, visibility="server")
    job = ask(bob, model["id"], prompt="It ").json
    assert job["owner"] == "bob"
    harness.write(job)
    assert bob.get(f"/v1/jobs/{job['id']}").json["texts"][0]["owner"] == "bob"
    problem(ann.get(f"/v1/jobs/{job['id']}"), 404)
    assert ann.items("/v1/texts") == []
    seen = bob.get(f"/v1/models/{model['id']}").json
    assert (seen["corpus"], seen["job"]) == (None, None)


def test_an_unknown_character_is_named_with_its_position(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)["id"]
    detail = problem(ask(ann, model, prompt="It \u2013 was"), 422)["detail"]
    assert "'\u2013'" in detail
    assert "U+2013" in detail
    assert "position 3" in detail
    assert '"skip"' in detail
    skipped = ask(ann, model, prompt="It \u2013was Q", unknown="skip").json
    assert skipped["spec"]["prompt"] == "It was "
    replaced = ask(ann, model, prompt="It\u2013was", unknown="replace").json
    assert replaced["spec"]["prompt"] == "It was"
    nothing = ask(ann, model, prompt="\u2013\u2014", unknown="skip")
    assert "no character of it is in the model's vocabulary" in problem(nothing, 422)["detail"]


def test_the_replacement_character_without_a_space(harness: ApiHarness, ann: Person) -> None:
    lines = harness.model(ann, ann.upload("ab\n" * 900), window=20)["id"]
    assert ask(ann, lines, prompt="a b", unknown="replace").json["spec"]["prompt"] == "a\nb"
    letters = harness.model(ann, ann.upload("ba" * 1400), window=20)["id"]
    assert ask(ann, letters, prompt="b b", unknown="replace").json["spec"]["prompt"] == "bab"


def test_a_prompt_is_normalised_like_the_corpus(harness: ApiHarness, ann: Person) -> None:
    classic = harness.model(ann, preset="classic")["id"]
    assert ask(ann, classic, prompt="IT WAS").json["spec"]["prompt"] == "it was"
    default = harness.model(ann)["id"]
    assert ask(ann, default, prompt="It was\r\na").json["spec"]["prompt"] == "It was\na"


def test_a_prompt_for_a_word_model_ends_with_a_word(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann, tokenizer="word", window=12)["id"]
    assert ask(ann, model, prompt="It was  ").json["spec"]["prompt"] == "It was"
    assert ask(ann, model, prompt="It was\n").json["spec"]["prompt"] == "It was\n"
    assert ask(ann, model, prompt="wasIt").json["spec"]["prompt"] == "wasIt"
    assert ask(ann, model, prompt=" ").json["spec"]["prompt"] == " "
    assert "position 3" in problem(ask(ann, model, prompt="It \u2013 was"), 422)["detail"]
    replaced = ask(ann, model, prompt="It\u2013was", unknown="replace").json
    assert replaced["spec"]["prompt"] == "It was"


def test_a_text_has_its_novelty(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)
    job = ask(ann, model["id"], n=3).json
    claim = harness.claim(job["id"], "generate")
    copied = {"copied_at": 2, "copied_from": 18}
    texts = [
        record(0, "a bright day", None, **copied, copied_characters=6, known_grams=0.4),
        record(1, "zzz", None, copied_characters=0, copied_at=0, copied_from=0, known_grams=None),
        record(2, "a text", None),
    ]
    harness.queue.succeed(claim, texts)
    found = [text["novelty"] for text in ann.get(f"/v1/jobs/{job['id']}").json["texts"]]
    assert found == [
        {"copied_characters": 6, "copied": "bright", "copied_from": 18, "known_grams": 0.4},
        {"copied_characters": 0, "copied": "", "copied_from": None, "known_grams": None},
        None,
    ]


def test_a_model_without_a_checkpoint_is_refused_with_its_training(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    job = ann.train(ann.upload(), visibility="server")
    detail = problem(ask(ann, job["model"]), 409)["detail"]
    assert job["id"] in detail
    assert "queued" in detail
    hidden = problem(ask(bob, job["model"]), 409)["detail"]
    assert job["id"] not in hidden
    ann.post(f"/v1/jobs/{job['id']}/cancel")
    assert "Train again" in problem(ask(ann, job["model"]), 409)["detail"]


def test_checkpoints_by_name_and_by_id(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload())
    claim = harness.claim(job["id"])
    ids = [harness.checkpoint(claim, step, loss) for step, loss in ((1, 2.0), (2, 1.2), (3, 1.2))]
    unjudged = harness.checkpoint(claim, 4, None)
    model = ann.get(f"/v1/models/{job['model']}").json
    assert model["checkpoints"] == {"best": ids[2], "latest": unjudged}
    assert ann.get(f"/v1/jobs/{job['id']}").json["checkpoints"] == model["checkpoints"]
    assert ask(ann, model["id"], checkpoint=ids[1]).json["spec"]["checkpoint"] == ids[1]
    assert ask(ann, model["id"], checkpoint="latest").status_code == 202
    of_another = harness.model(ann)["checkpoints"]["best"]
    assert of_another in problem(ask(ann, model["id"], checkpoint=of_another), 404)["detail"]


def test_all_fields_of_a_request(harness: ApiHarness, ann: Person) -> None:
    classic = harness.model(ann, preset="classic")["id"]
    spec = ask(
        ann,
        classic,
        prompt_from="corpus",
        temperature=[{"from": 1.2, "to": 0}, 1],
        repetition_penalty=1.3,
        stop=["It\r\n", "."],
        echo=True,
        logprobs=True,
    ).json["spec"]
    assert spec["temperatures"] == [{"from": 1.2, "to": 0.0}, 1.0]
    assert (spec["prompt"], spec["repetition_penalty"]) == (None, 1.3)
    assert spec["stop"] == ["it\n", "."]
    assert (spec["echo"], spec["logprobs"]) == (True, True)
    alone = ask(ann, classic, temperature={"from": 0, "to": 1}, stop="END").json["spec"]
    assert (alone["temperatures"], alone["stop"]) == ([{"from": 0.0, "to": 1.0}], ["end"])


def test_a_text_has_its_sampling_fields_and_log_probabilities(
    harness: ApiHarness, ann: Person
) -> None:
    model = harness.model(ann)
    job = ask(ann, model["id"], prompt="It ").json
    claim = harness.claim(job["id"], "generate")
    told = {"mean_logprob": -0.5, "bits_per_char": 0.72, "logprobs": [-0.25, -0.75]}
    checkpoint = model["checkpoints"]["best"]
    texts = [
        record(0, "wa", checkpoint, temperature_to=0.1, echo=True, **told),
        record(1, "wa", checkpoint, repetition_penalty=1.5),
    ]
    harness.queue.cancel_claimed(claim, texts)
    done = ann.get(f"/v1/jobs/{job['id']}").json
    assert done["status"] == "cancelled"
    first, second = done["texts"]
    assert (first["text"], first["prompt"], first["echo"]) == ("It wa", "It ", True)
    assert (first["temperature_to"], first["repetition_penalty"]) == (0.1, 1.0)
    assert {name: first[name] for name in told} == told
    assert (second["text"], second["repetition_penalty"]) == ("wa", 1.5)
    assert (second["temperature_to"], second["logprobs"], second["echo"]) == (None, None, False)


def test_a_score(harness: ApiHarness, ann: Person) -> None:
    classic = harness.model(ann, preset="classic")
    answer = ann.post("/v1/score", {"model": classic["id"], "text": "IT was\r\n", "logprobs": True})
    assert answer.status_code == 202
    job = answer.json
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["name"]) == ("generate", classic["name"])
    spec = job["spec"]
    assert (spec["score"], spec["prompt"], spec["length"]) == (True, "it was\n", 0)
    assert (spec["logprobs"], spec["temperatures"]) == (True, [1.0])
    harness.write(job, [""])
    assert ann.get(f"/v1/jobs/{job['id']}").json["status"] == "succeeded"
    waited = ann.post(
        "/v1/score", {"model": classic["id"], "text": "it was"}, headers={"Prefer": "wait=1"}
    )
    assert waited.status_code == 202


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"text": "I"}, 'text: must have at least 2 characters (got "I")'),
        ({}, "text: required"),
        ({"text": "It \u2013 was"}, "text: character '\u2013' (U+2013) at position 3"),
        ({"text": "It was", "length": 3}, "length: unknown field"),
    ],
)
def test_an_invalid_score_names_its_field(
    harness: ApiHarness, ann: Person, fields: dict[str, Any], says: str
) -> None:
    answer = ann.post("/v1/score", {"model": harness.model(ann)["id"], **fields})
    assert says in problem(answer, 422)["detail"]


def test_a_score_needs_a_visible_model_with_a_checkpoint(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = harness.model(ann)["id"]
    problem(bob.post("/v1/score", {"model": model, "text": "It was"}), 404)
    untaught = ann.train(ann.upload())["model"]
    problem(ann.post("/v1/score", {"model": untaught, "text": "It was"}), 409)


def test_a_generation_past_its_deadline_keeps_its_texts(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)
    job = ask(ann, model["id"], prompt="It ", n=2).json
    claim = harness.claim(job["id"], "generate")
    checkpoint = model["checkpoints"]["best"]
    cut = replace(record(1, "w", checkpoint), finish_reason="deadline")
    error = {"type": "/problems/deadline-reached", "title": "Too long", "detail": "It was cut."}
    harness.queue.fail(claim, error, [record(0, "wa", checkpoint), cut])
    done = ann.get(f"/v1/jobs/{job['id']}").json
    assert done["status"] == "failed"
    assert [text["finish_reason"] for text in done["texts"]] == ["length", "deadline"]
