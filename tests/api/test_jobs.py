"""Jobs: list, filter, read, cancel, run again; progress, curves and history."""

from tests.api.harness import ApiHarness, Person, problem, record


def ids(person: Person, query: str = "") -> list[str]:
    return [job["id"] for job in person.items(f"/v1/jobs{query}")]


def test_lists_are_filtered_and_show_own_jobs_only(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload(visibility="server")
    model = harness.model(ann, corpus, name="first")
    train = ids(ann)[0]
    second = ann.train(corpus, name="second")
    written = ann.post("/v1/generate", {"model": model["id"], "name": "poem"}).json
    bob.train(corpus)
    assert ids(ann) == [written["id"], second["id"], train]
    assert ids(ann, "?kind=train") == [second["id"], train]
    assert ids(ann, "?kind=generate") == [written["id"]]
    assert ids(ann, "?status=queued") == [written["id"], second["id"]]
    assert ids(ann, "?status=succeeded&kind=train") == [train]
    assert ids(ann, f"?model={model['id']}") == [written["id"], train]
    assert ids(ann, "?name=poem") == [written["id"]]
    assert ids(ann, "?name=nothing") == []
    for wrong in ("?kind=cook", "?status=lost", "?model=mine", "?owner=bob"):
        problem(ann.get(f"/v1/jobs{wrong}"), 422)


def test_a_running_job_shows_progress_curves_and_history(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload())
    claim = harness.claim(job["id"])
    for step in (10, 20, 30):
        harness.progress(claim, step)
    harness.checkpoint(claim, 30)
    running = ann.get(f"/v1/jobs/{job['id']}").json
    assert (running["status"], running["attempt"]) == ("running", 1)
    assert running["started_at"].endswith("Z")
    assert running["progress"] == {
        "step": 30,
        "steps_total": 400,
        "epoch": 0.3,
        "epochs": 4,
        "loss": 1.5,
        "val_loss": None,
        "bits_per_char": None,
        "learning_rate": 0.004,
        "characters_per_second": 10_000.0,
        "seconds_left": 12.5,
    }
    path = f"/v1/jobs/{job['id']}"
    assert [point["step"] for point in ann.items(f"{path}/metrics")] == [10, 20, 30]
    first = ann.get(f"{path}/metrics?limit=2").json
    rest = ann.get(f"{path}/metrics?limit=2&cursor={first['next_cursor']}").json
    assert [point["step"] for point in rest["items"]] == [30]
    assert rest["next_cursor"] is None
    events = [event["type"] for event in ann.items(f"{path}/history")]
    assert events == ["submitted", "claimed", "checkpoint"]


def test_the_texts_of_a_training_are_its_samples(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload(), preset="classic")
    claim = harness.claim(job["id"])
    checkpoint = harness.checkpoint(claim, 5)
    texts = [
        record(position, f"{step} {position}", checkpoint, requested=False, step=step, epoch=1.0)
        for step in (5, 9)
        for position in (0, 1)
    ]
    harness.queue.record_texts(claim, texts)
    path = f"/v1/jobs/{job['id']}/texts"
    assert [text["text"] for text in ann.items(path)] == ["5 0", "5 1", "9 0", "9 1"]
    page = ann.get(f"{path}?limit=3").json
    last = ann.get(f"{path}?limit=3&cursor={page['next_cursor']}").json["items"]
    assert [text["text"] for text in last] == ["9 1"]
    assert {text["requested"] for text in ann.items("/v1/texts")} == {False}
    assert "texts" not in ann.get(f"/v1/jobs/{job['id']}").json


def test_cancel(harness: ApiHarness, ann: Person) -> None:
    queued, running = ann.train(corpus := ann.upload()), ann.train(corpus)
    path = f"/v1/jobs/{queued['id']}/cancel"
    ended = ann.post(path)
    assert ended.status_code == 202
    assert (ended.json["status"], ended.json["cancel_requested"]) == ("cancelled", True)
    assert "already been cancelled" in problem(ann.post(path), 409)["detail"]
    claim = harness.claim(running["id"])
    asked = ann.post(f"/v1/jobs/{running['id']}/cancel")
    assert (asked.json["status"], asked.json["cancel_requested"]) == ("running", True)
    again = ann.post(f"/v1/jobs/{running['id']}/cancel")
    assert again.status_code == 202
    assert harness.queue.heartbeat(claim).cancel
    problem(ann.post(path, {"force": True}), 422)


def test_a_failed_job_has_its_error(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload())
    error = {"type": "/problems/diverged", "title": "It diverged", "detail": "lower the rate"}
    harness.queue.fail(harness.claim(job["id"]), error)
    failed = ann.get(f"/v1/jobs/{job['id']}").json
    assert (failed["status"], failed["error"]) == ("failed", error)


def test_a_rerun_training_creates_a_new_model(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann, name="mine", epochs=2, seed=9)
    again = ann.post(f"/v1/jobs/{model['job']}/rerun")
    assert again.status_code == 202
    job = again.json
    assert again.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert job["id"] != model["job"]
    assert job["model"] != model["id"]
    assert (job["status"], job["name"], job["spec"]) == ("queued", "mine", model["spec"])


def test_a_generation_can_rerun_until_its_model_is_deleted(
    harness: ApiHarness, ann: Person
) -> None:
    model = harness.model(ann)
    job = ann.post("/v1/generate", {"model": model["id"], "seed": 3, "prompt": "It"}).json
    harness.write(job)
    again = ann.post(f"/v1/jobs/{job['id']}/rerun").json
    assert again["spec"] == job["spec"]
    harness.write(again)
    assert ann.delete(f"/v1/models/{model['id']}").status_code == 204
    gone = problem(ann.post(f"/v1/jobs/{job['id']}/rerun"), 409)
    assert "the model of this job was deleted" in gone["detail"]
    kept = ann.post(f"/v1/jobs/{model['job']}/rerun")
    assert kept.status_code == 202
    assert ann.post(f"/v1/jobs/{kept.json['id']}/cancel").status_code == 202
    assert ann.delete(f"/v1/models/{kept.json['model']}").status_code == 204
    assert ann.delete(f"/v1/corpora/{model['corpus']}").status_code == 204
    problem(ann.post(f"/v1/jobs/{model['job']}/rerun"), 409)


def test_a_rerun_needs_resources_that_are_still_shared(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = harness.model(ann, visibility="server")
    job = bob.post("/v1/generate", {"model": model["id"], "prompt": "It "}).json
    ann.patch(f"/v1/models/{model['id']}", {"visibility": "private"})
    problem(bob.post(f"/v1/jobs/{job['id']}/rerun"), 409)
