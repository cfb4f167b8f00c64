"""``POST /v1/train``: its fields, what is stored, and what is refused."""

import math
from typing import Any

import pytest

from shared.queue.types import ProgressReport
from shared.specs.presets import PRESETS
from shared.specs.training import TrainNumbers
from shared.specs.windows import minimum_characters
from tests.api.harness import ENGLISH, ApiHarness, Person, problem


def test_a_training_creates_a_model_and_a_job(harness: ApiHarness, ann: Person) -> None:
    corpus = ann.upload()
    answer = ann.post("/v1/train", {"corpus": corpus, "epochs": 3, "seed": 7})
    assert answer.status_code == 202
    job = answer.json
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["status"], job["name"]) == ("train", "queued", "orwell")
    assert (job["attempt"], job["progress"], job["error"]) == (0, None, None)
    assert job["checkpoints"] == {"best": None, "latest": None}
    assert "texts" not in job
    expected = PRESETS["default"].model_dump() | {
        "preset": "default",
        "epochs": 3,
        "seed": 7,
        "sample": {
            "length": 400,
            "temperatures": [0.2, 0.5, 1.0, 1.2],
            "every_epochs": 1,
            "every_steps": None,
        },
        "budget": None,
        "items": False,
        "threads": 1,
        "shards": 1,
    }
    assert job["spec"] == expected
    model = ann.get(f"/v1/models/{job['model']}").json
    assert (model["corpus"], model["job"], model["preset"]) == (corpus, job["id"], "default")
    assert (model["name"], model["visibility"]) == ("orwell", "private")
    assert model["vocabulary_size"] == len(set(ENGLISH))
    assert harness.claim(job["id"]).spec == expected


def test_the_default_name_of_a_model_is_a_free_variant_of_its_corpus_name(
    ann: Person, bob: Person
) -> None:
    corpus = ann.upload(name="letters", visibility="server")
    assert ann.train(corpus)["name"] == "letters"
    assert ann.train(corpus)["name"] == "letters-2"
    assert ann.train(corpus, name="letters")["name"] == "letters"
    assert bob.train(corpus, visibility="server")["name"] == "letters"
    assert ann.train(corpus)["name"] == "letters-3"
    # What bob shares is found by its name as well as what is ann's own.
    mine = ann.upload(name="notes")
    bob.train(corpus, name="notes", visibility="server")
    assert ann.train(mine)["name"] == "notes-2"
    long = ann.upload(name="x" * 200)
    assert [ann.train(long)["name"] for _ in "12"] == ["x" * 200, "x" * 198 + "-2"]


def test_the_classic_preset_lower_cases(ann: Person) -> None:
    job = ann.train(ann.upload(), preset="classic")
    model = ann.get(f"/v1/models/{job['model']}").json
    assert model["vocabulary_size"] == len(set(ENGLISH.lower()))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_training_samples_texts_by_default(ann: Person, preset: str) -> None:
    corpus = ann.upload()
    sample = ann.train(corpus, preset=preset)["spec"]["sample"]
    assert (sample["length"], sample["every_epochs"]) == (400, 1)
    assert ann.train(corpus, preset=preset, sample=None)["spec"]["sample"] is None
    some = ann.train(corpus, preset=preset, sample={"length": 10, "temperatures": [1]})
    assert some["spec"]["sample"] == {
        "length": 10,
        "temperatures": [1.0],
        "every_epochs": 1,
        "every_steps": None,
    }


def test_samples_by_steps_epochs_or_both(ann: Person) -> None:
    corpus = ann.upload()

    def rhythm(**sample: Any) -> tuple[Any, Any]:
        spec = ann.train(corpus, sample=sample)["spec"]["sample"]
        return spec["every_epochs"], spec["every_steps"]

    assert rhythm(every_steps=50) == (None, 50)
    assert rhythm(every_steps=50, every_epochs=2) == (2, 50)
    assert rhythm(every_epochs=2) == (2, None)
    never = ann.post("/v1/train", {"corpus": corpus, "sample": {"every_epochs": None}})
    assert "set sample itself to null" in problem(never, 422)["detail"]


def test_a_word_model_shows_its_size_once_known(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload(), tokenizer="word", vocabulary_limit=100, window=12)
    assert (job["spec"]["tokenizer"], job["spec"]["vocabulary_limit"]) == ("word", 100)
    model = ann.get(f"/v1/models/{job['model']}").json
    assert model["tokenizer"] == "word"
    assert (model["vocabulary_size"], model["characters_per_token"]) == (None, None)
    claim = harness.claim(job["id"])
    saved = harness.checkpoint(claim, 100, 4 * math.log(2))
    assert ann.get(f"/v1/checkpoints/{saved}").json["bits_per_char"] is None
    harness.queue.record_vocabulary(claim, 40, 4.0)
    model = ann.get(f"/v1/models/{job['model']}").json
    assert (model["vocabulary_size"], model["characters_per_token"]) == (40, 4.0)
    assert ann.get(f"/v1/checkpoints/{saved}").json["bits_per_char"] == pytest.approx(1)
    harness.progress(claim, 200)
    for name, value in (
        ("tokenizer", "bpe"),
        ("vocabulary_limit", 15),
        ("vocabulary_limit", 2**16),
    ):
        wrong = ann.post("/v1/train", {"corpus": job["corpus"], name: value})
        assert problem(wrong, 422)["errors"][0]["field"] == name


def test_losses_are_shown_in_bits_per_character(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload())
    claim = harness.claim(job["id"])
    told = ProgressReport(9, 400, 0.1, 4, 1.5, 2.0, 0.004, 10_000.0, 12.5, 2.0 / math.log(2))
    harness.queue.record_progress(claim, told)
    bits = ann.get(f"/v1/jobs/{job['id']}").json["progress"]["bits_per_char"]
    assert bits == pytest.approx(2.885, abs=1e-3)
    assert ann.items(f"/v1/jobs/{job['id']}/metrics")[0]["bits_per_char"] == bits


#: A value of every number that no preset has.
NUMBERS: dict[str, Any] = {
    "lowercase": True,
    "tokenizer": "char",
    "vocabulary_limit": 500,
    "predict": "last",
    "window": 20,
    "stride": 2,
    "embedding": 24,
    "tied_embedding": True,
    "units": 16,
    "layers": 3,
    "batch_size": 4,
    "optimizer": "rmsprop",
    "learning_rate": 0.5,
    "schedule": "constant",
    "beta_2": 0.9,
    "clip_norm": 2.5,
    "average_decay": 0.5,
    "dropout": 0.3,
    "epochs": 1,
    "held_out": 0.1,
    "holdout": "tail",
    "validate_every": 7,
    "patience": 2,
    "rollbacks": 1,
    "keep": 9,
}
#: Of every number that is one: the greatest and the least that are refused.
OUT_OF_BOUNDS: dict[str, tuple[float, float]] = {
    "vocabulary_limit": (15, 32_769),
    "window": (3, 1025),
    "stride": (0, 1025),
    "embedding": (-1, 1025),
    "units": (7, 2049),
    "layers": (0, 5),
    "batch_size": (0, 1025),
    "learning_rate": (0, 1.01),
    "beta_2": (0.49, 1),
    "clip_norm": (0, 1001),
    "average_decay": (-0.1, 1),
    "dropout": (-0.1, 0.91),
    "epochs": (0, 10_001),
    "held_out": (0, 0.51),
    "validate_every": (0, 1_000_001),
    "patience": (0, 10_001),
    "rollbacks": (-1, 101),
    "keep": (0, 1001),
}


def test_every_number_can_be_set(ann: Person) -> None:
    assert NUMBERS.keys() == TrainNumbers.model_fields.keys()
    job = ann.train(ann.upload(), name="mine", visibility="server", **NUMBERS)
    assert job["spec"] | NUMBERS == job["spec"]
    assert job["name"] == "mine"
    assert ann.get(f"/v1/models/{job['model']}").json["visibility"] == "server"
    none = dict.fromkeys(("clip_norm", "average_decay", "validate_every", "patience"))
    job = ann.train(job["corpus"], **NUMBERS | none)
    assert job["spec"] | none == job["spec"]


def test_every_number_has_bounds_and_is_named_beyond_them(ann: Person) -> None:
    words = {
        "lowercase",
        "tokenizer",
        "predict",
        "optimizer",
        "schedule",
        "holdout",
        "tied_embedding",
    }
    assert OUT_OF_BOUNDS.keys() == TrainNumbers.model_fields.keys() - words
    corpus = ann.upload()
    for name, values in OUT_OF_BOUNDS.items():
        for value in values:
            wrong = ann.post("/v1/train", {"corpus": corpus, name: value})
            assert [each["field"] for each in problem(wrong, 422)["errors"]] == [name], value
    for name in words:
        wrong = ann.post("/v1/train", {"corpus": corpus, name: "nothing such"})
        assert [each["field"] for each in problem(wrong, 422)["errors"]] == [name]


@pytest.mark.parametrize(
    ("fields", "holdout"),
    [
        ({}, "spread"),
        ({"preset": "large"}, "spread"),
        ({"preset": "classic"}, "tail"),
        ({"preset": "classic", "holdout": "spread"}, "spread"),
    ],
)
def test_pieces_all_over_a_text_judge_a_training_but_of_the_classic_recipe(
    ann: Person, fields: dict[str, str], holdout: str
) -> None:
    assert ann.train(ann.upload(), **fields)["spec"]["holdout"] == holdout


#: A text of 1,200 different characters.
MANY_CHARACTERS = "".join(chr(0x4E00 + i) for i in range(1200)) * 4


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_large_alphabet_ties_the_embedding(ann: Person, dry_run: bool) -> None:
    def spec(corpus: str, **fields: Any) -> Any:
        query = "?dry_run=true" if dry_run else ""
        answer = ann.post(f"/v1/train{query}", {"corpus": corpus, "window": 32, **fields})
        assert answer.status_code == (200 if dry_run else 202)
        return answer.json["spec"]

    chinese, english = ann.upload(MANY_CHARACTERS, name="a"), ann.upload(name="b")
    plain, tied = spec(english), spec(chinese)
    assert (plain["tied_embedding"], plain["embedding"]) == (False, 64)
    assert (tied["tied_embedding"], tied["embedding"]) == (True, 128)
    assert spec(chinese, embedding=96)["embedding"] == 96
    assert spec(chinese, preset="large")["tied_embedding"]
    untied = spec(chinese, tied_embedding=False)
    assert untied | {"seed": 0, "window": 96} == plain | {"seed": 0, "window": 96}
    assert not spec(chinese, preset="classic")["tied_embedding"]
    assert spec(english, tied_embedding=True)["embedding"] == 64


@pytest.mark.parametrize("fields", [{"preset": "classic"}, {"embedding": 0}])
def test_without_an_embedding_none_is_tied(ann: Person, fields: dict[str, Any]) -> None:
    answer = ann.post("/v1/train", {"corpus": ann.upload(), "tied_embedding": True, **fields})
    [error] = problem(answer, 422)["errors"]
    assert (error["field"], error["value"]) == ("tied_embedding", True)
    assert "`embedding` is 0" in error["message"]


def test_a_short_corpus_is_refused_with_the_minimum(ann: Person) -> None:
    least = minimum_characters(PRESETS["default"].window, 0.05)
    short = ann.upload(ENGLISH[: least - 1])
    detail = problem(ann.post("/v1/train", {"corpus": short}), 422)["detail"]
    assert f"{least:,}" in detail
    assert f"{least - 1:,}" in detail
    ann.train(short, window=20)
    haiku = ann.upload(ENGLISH[:500])
    assert (
        "a window of at most 24" in problem(ann.post("/v1/train", {"corpus": haiku}), 422)["detail"]
    )
    problem(ann.post("/v1/train", {"corpus": haiku, "window": 25}), 422)
    ann.train(haiku, window=24)
    tiny = problem(ann.post("/v1/train", {"corpus": ann.upload("It was")}), 422)["detail"]
    assert tiny.endswith("Use a longer text")
    ann.train(ann.upload(ENGLISH[:least]))


def test_an_unknown_corpus_is_not_found(ann: Person, bob: Person) -> None:
    missing = "01890a5d-ac96-774b-bcce-b302099a8057"
    private = bob.upload()
    answers = [ann.post("/v1/train", {"corpus": id}) for id in (missing, private)]
    bodies = [problem(answer, 404) for answer in answers]
    assert bodies[0] == {**bodies[1], "detail": bodies[1]["detail"].replace(private, missing)}
    shared = bob.upload(visibility="server")
    ann.train(shared)


def test_the_queue_of_one_user_is_full_but_not_that_of_another(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload(visibility="server")
    for _ in range(harness.queue.settings.max_queued_per_user):
        ann.train(corpus)
    full = ann.post("/v1/train", {"corpus": corpus})
    assert "12 queued jobs" in problem(full, 429)["detail"]
    assert int(full.headers["Retry-After"]) > 0
    assert len(ann.items("/v1/models")) == 12
    bob.train(corpus)
