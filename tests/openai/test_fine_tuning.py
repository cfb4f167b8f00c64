"""``/openai/v1/fine_tuning/jobs``: trainings in the words of OpenAI's API."""

from typing import Any

import pytest

from tests.api.harness import ApiHarness, Person
from tests.openai.calls import ROOT, error, refused_field

JOBS = f"{ROOT}/fine_tuning/jobs"


@pytest.fixture
def file(ann: Person) -> str:
    return ann.upload()


def submit(person: Person, file: str, **body: Any) -> Any:
    return person.post(JOBS, {"model": "default", "training_file": file, **body})


def accepted(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json


def test_a_job_has_every_field(ann: Person, file: str) -> None:
    job = accepted(
        submit(
            ann,
            file,
            suffix="letters",
            seed=7,
            hyperparameters={"n_epochs": 3, "batch_size": 16, "learning_rate_multiplier": 0.5},
        )
    )
    row = ann.get(f"/v1/jobs/{job['id']}").json
    assert (row["kind"], row["name"], row["corpus"]) == ("train", "letters", file)
    spec = row["spec"]
    assert (spec["preset"], spec["epochs"], spec["batch_size"]) == ("default", 3, 16)
    plain = accepted(submit(ann, file))
    default = ann.get(f"/v1/jobs/{plain['id']}").json["spec"]
    assert spec["learning_rate"] == default["learning_rate"] / 2
    used = {"n_epochs": 3, "batch_size": 16, "learning_rate_multiplier": "auto"}
    assert isinstance(job.pop("created_at"), int)
    assert job == {
        "id": row["id"],
        "object": "fine_tuning.job",
        "finished_at": None,
        "estimated_finish": None,
        "status": "queued",
        "model": "default",
        "fine_tuned_model": None,
        "error": None,
        "hyperparameters": used,
        "organization_id": "ann",
        "result_files": [],
        "seed": 7,
        "trained_tokens": None,
        "training_file": file,
        "validation_file": None,
        "integrations": [],
        "method": {"type": "supervised", "supervised": {"hyperparameters": used}},
    }


def test_the_numbers_of_quire_have_a_key_of_their_own(ann: Person, file: str) -> None:
    for body in (
        {"quire": {"units": 64, "tokenizer": "word", "budget": {"seconds": 60}}},
        {"metadata": {"quire": '{"units": 64, "tokenizer": "word", "budget": {"seconds": 60}}'}},
    ):
        job = accepted(submit(ann, file, model="large", **body))
        spec = ann.get(f"/v1/jobs/{job['id']}").json["spec"]
        assert (spec["preset"], spec["units"], spec["tokenizer"]) == ("large", 64, "word")
        assert spec["budget"] == {"seconds": 60.0}
        assert job["hyperparameters"]["n_epochs"] == "auto"


def test_neutral_values_are_accepted(ann: Person, file: str) -> None:
    auto = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
    accepted(
        submit(
            ann,
            file,
            hyperparameters=auto,
            method={"type": "supervised", "supervised": {"hyperparameters": auto}},
            integrations=[],
            validation_file=None,
            metadata={"team": "letters"},
        )
    )
    in_method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    job = accepted(submit(ann, file, method=in_method))
    assert job["hyperparameters"]["n_epochs"] == 2


def test_a_training_goes_on_from_the_best_checkpoint_of_a_model(
    harness: ApiHarness, ann: Person, file: str
) -> None:
    first = ann.train(file, name="orwell", epochs=2)
    claim = harness.claim(first["id"])
    best = harness.checkpoint(claim, 100, 1.0)
    latest = harness.checkpoint(claim, 200, 2.0)
    harness.queue.succeed(claim)
    for model, checkpoint, step in (
        ("orwell", best, 100),
        ("orwell@best", best, 100),
        ("ann/orwell@latest", latest, 200),
        (first["model"], best, 100),
    ):
        job = accepted(submit(ann, file, model=model, hyperparameters={"n_epochs": 5}))
        assert job["model"] == f"orwell@{step}"
        row = ann.get(f"/v1/jobs/{job['id']}").json
        assert ann.get(f"/v1/models/{row['model']}").json["from_checkpoint"] == checkpoint
        assert row["spec"]["epochs"] == 5


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"training_file": "019ab0c4"}, "training_file"),
    ({"training_file": None}, "training_file"),
    ({"validation_file": "019ab0c4"}, "validation_file"),
    ({"integrations": [{"type": "wandb"}]}, "integrations"),
    ({"method": {"type": "dpo"}}, "method.type"),
    ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
    ({"hyperparameters": {"batch_size": 5000}}, "batch_size"),
    ({"hyperparameters": {"learning_rate_multiplier": 10**6}}, "learning_rate"),
    ({"hyperparameters": {"n_epochs": 10**9}}, "n_epochs"),
    ({"hyperparameters": {"beta": 1}}, "hyperparameters.beta"),
    ({"quire": {"units": 1}}, "units"),
    ({"quire": {"unitz": 64}}, "unitz"),
    ({"quire": {"corpus": "x"}}, "quire.corpus"),
    ({"quire": {"from": "x"}}, "quire.from"),
    ({"quire": {"epochs": 5}, "hyperparameters": {"n_epochs": 5}}, "quire.epochs"),
    ({"quire": {"units": 64}, "metadata": {"quire": "{}"}}, "metadata.quire"),
    ({"metadata": {"quire": "units=64"}}, "metadata.quire"),
    ({"metadata": {"quire": "[]"}}, "metadata.quire"),
    ({"seed": -1}, "seed"),
    ({"suffix": "a\nb"}, "suffix"),
    ({"n_epochs": 5}, "n_epochs"),
]


def test_what_can_not_be_done_is_a_400_that_names_the_field(ann: Person, file: str) -> None:
    for fields, field in REFUSED:
        named, message = refused_field(submit(ann, **{"file": file, **fields}))
        assert named == field, (fields, message)
    twice = {"supervised": {"hyperparameters": {"n_epochs": 2}}}
    both = submit(ann, file, method=twice, hyperparameters={"n_epochs": 3})
    assert refused_field(both)[0] == "hyperparameters"
    assert ann.items("/v1/jobs") == []


def test_what_is_not_there_is_a_404(harness: ApiHarness, ann: Person, bob: Person) -> None:
    file = bob.upload()
    harness.model(bob, file, name="theirs")
    missing = "019ab0c4-0000-7000-8000-000000000000"
    for model in ("theirs", "bob/theirs", "none"):
        own = ann.upload(name=model)
        assert error(submit(ann, own, model=model), 404)["param"] == "model"
    private, unknown = (submit(ann, each) for each in (file, missing))
    assert private.status_code == unknown.status_code == 404
    assert private.text.replace(file, missing) == unknown.text


def test_a_job_is_followed_in_openais_words(harness: ApiHarness, ann: Person, file: str) -> None:
    job = accepted(submit(ann, file, suffix="orwell"))
    path = f"{JOBS}/{job['id']}"
    claim = harness.claim(job["id"])
    assert ann.get(path).json["status"] == "running"
    harness.checkpoint(claim, 100, 1.0)
    newest = harness.checkpoint(claim, 200, None)
    harness.queue.succeed(claim)
    ended = ann.get(path).json
    assert (ended["status"], ended["fine_tuned_model"]) == ("succeeded", "orwell")
    assert ended["finished_at"] >= ended["created_at"]
    events = ann.get(f"{path}/events").json
    assert [event["message"] for event in events["data"]] == [
        "The job has successfully completed",
        "Checkpoint created",
        "Checkpoint created",
        "Fine-tuning job started",
        "Created fine-tuning job",
    ]
    assert {event["object"] for event in events["data"]} == {"fine_tuning.job.event"}
    assert {event["level"] for event in events["data"]} == {"info"}
    page = ann.get(f"{path}/events?limit=2&after={events['data'][1]['id']}").json
    assert (page["data"], page["has_more"]) == (events["data"][2:4], True)
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][1]["id"])
    checkpoints = ann.get(f"{path}/checkpoints").json["data"]
    assert [each["fine_tuned_model_checkpoint"] for each in checkpoints] == [
        "orwell@200",
        "orwell@100",
    ]
    assert checkpoints[0] == {
        "id": newest,
        "object": "fine_tuning.job.checkpoint",
        "created_at": checkpoints[0]["created_at"],
        "fine_tuned_model_checkpoint": "orwell@200",
        "fine_tuning_job_id": job["id"],
        "step_number": 200,
        "metrics": {
            "step": 200,
            "train_loss": 1.4,
            "valid_loss": None,
            "full_valid_loss": None,
        },
    }
    for each in checkpoints:
        name = each["fine_tuned_model_checkpoint"]
        assert ann.get(f"{ROOT}/models/{name}").json["id"] == name


def test_a_job_is_paused_resumed_and_cancelled(ann: Person, file: str) -> None:
    job = accepted(submit(ann, file))
    for action, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert accepted(ann.post(f"{JOBS}/{job['id']}/{action}"))["status"] == status
    answer = ann.post(f"{JOBS}/{job['id']}/cancel")
    assert error(answer, 409)["code"] == "conflict"
    assert answer.headers["x-should-retry"] == "false"


def test_a_failure_says_why(harness: ApiHarness, ann: Person, file: str) -> None:
    job = accepted(submit(ann, file))
    problem = {"type": "/problems/no-room", "title": "x", "detail": "the disk is full"}
    harness.queue.fail(harness.claim(job["id"]), problem)
    found = ann.get(f"{JOBS}/{job['id']}").json
    assert found["status"] == "failed"
    assert found["error"] == {"code": "no_room", "message": "the disk is full", "param": None}
    assert ann.get(f"{JOBS}/{job['id']}/events").json["data"][0]["level"] == "error"


def test_jobs_are_listed_by_pages_and_are_trainings_alone(
    harness: ApiHarness, ann: Person, bob: Person, file: str
) -> None:
    made = [accepted(submit(ann, file))["id"] for _ in range(3)]
    first = ann.get(f"{JOBS}?limit=2").json
    assert [job["id"] for job in first["data"]] == made[:0:-1]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (made[2], made[1], True)
    rest = ann.get(f"{JOBS}?after={first['last_id']}").json
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == (made[:1], False)
    assert bob.get(JOBS).json["data"] == []
    model = harness.model(bob)
    text = bob.post("/v1/generate", {"model": model["id"]}).json["id"]
    paths = ("", "/events", "/checkpoints")
    for id in (made[0], text, "none"):
        assert {error(bob.get(f"{JOBS}/{id}{path}"), 404)["code"] for path in paths} == {
            "not_found"
        }
        assert error(bob.post(f"{JOBS}/{id}/cancel"), 404)["code"] == "not_found"


def test_a_job_with_a_key_is_created_once(ann: Person, file: str) -> None:
    body = {"model": "default", "training_file": file}
    sent = [ann.post(JOBS, body, headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert accepted(sent[0]) == accepted(sent[1])
    assert len(ann.items("/v1/jobs")) == 1
