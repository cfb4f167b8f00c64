"""Models and checkpoints: list, rename, delete, download."""

import hashlib

from safetensors.numpy import load

from tests.api.harness import ApiHarness, Person, problem, safetensors


def test_owners_can_rename_and_share(harness: ApiHarness, ann: Person, bob: Person) -> None:
    model = harness.model(ann, name="old")
    path = f"/v1/models/{model['id']}"
    assert ann.patch(path, {"name": "new", "visibility": "server"}).json == model | {
        "name": "new",
        "visibility": "server",
    }
    assert bob.get(path).json["name"] == "new"
    problem(bob.patch(path, {"name": "mine"}), 403)
    problem(bob.delete(path), 403)
    problem(ann.patch(path, {"vocabulary": "abc"}), 422)
    assert [each["id"] for each in bob.items("/v1/models?visibility=server")] == [model["id"]]
    assert bob.items("/v1/models?name=old") == []


def test_deleting_a_model_deletes_its_checkpoints_and_keeps_texts(
    harness: ApiHarness, ann: Person
) -> None:
    model = harness.model(ann)
    job = ann.post("/v1/generate", {"model": model["id"]}).json
    path = f"/v1/models/{model['id']}"
    assert "unfinished job" in problem(ann.delete(path), 409)["detail"]
    harness.write(job)
    assert ann.delete(path).status_code == 204
    problem(ann.get(path), 404)
    problem(ann.get(f"/v1/checkpoints/{model['checkpoints']['best']}"), 404)
    done = ann.get(f"/v1/jobs/{job['id']}").json
    assert done["model"] is None
    text = done["texts"][0]
    assert (text["text"], text["model"], text["checkpoint"]) == ("a text", None, None)
    assert ann.get(f"/v1/jobs/{model['job']}").json["checkpoints"] == {"best": None, "latest": None}


def test_a_model_cited_by_other_users_can_not_be_deleted(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = harness.model(ann, visibility="server")
    request = {"model": model["id"], "prompt": "It ", "name": "a secret of bob's"}
    job = bob.post("/v1/generate", request).json
    detail = problem(ann.delete(f"/v1/models/{model['id']}"), 409)["detail"]
    assert "unfinished job of other users" in detail
    harness.write(job)
    cited = problem(ann.delete(f"/v1/models/{model['id']}"), 409)["detail"]
    assert "Make the model private instead" in cited
    assert "secret" not in detail + cited


def test_checkpoints_can_be_listed_resolved_and_downloaded(
    harness: ApiHarness, ann: Person
) -> None:
    job = ann.train(ann.upload())
    claim = harness.claim(job["id"])
    ids = [harness.checkpoint(claim, step, loss) for step, loss in ((7, 1.0), (14, 2.0))]
    model = f"/v1/models/{job['model']}"
    listed = ann.items(f"{model}/checkpoints")
    assert [each["id"] for each in listed] == ids[::-1]
    best = ann.get(f"{model}/checkpoints/best").json
    assert ann.get(f"/v1/checkpoints/{ids[0]}").json == best
    lineage = best["lineage"]
    assert (lineage["checkpoint"], lineage["job"], lineage["step"]) == (ids[0], job["id"], 7)
    assert (lineage["checkpoint_sha256"], lineage["digest"]) == (best["sha256"], best["digest"])
    assert {name: best[name] for name in listed[1]} == listed[1]
    assert ann.get(f"{model}/checkpoints/latest").json["id"] == ids[1]
    assert ann.get(f"{model}/checkpoints/{ids[0]}").json == best
    data = safetensors(7)
    assert best["sha256"] == hashlib.sha256(data).hexdigest()
    assert (best["bytes"], best["step"], best["job"]) == (len(data), 7, job["id"])
    assert round(best["bits_per_char"], 3) == 1.443
    file = ann.get(f"/v1/checkpoints/{ids[0]}/download", headers={"Accept": "application/json"})
    assert file.content_type == "application/octet-stream"
    assert file.headers["Content-Disposition"] == f"attachment; filename={ids[0]}.safetensors"
    assert file.content_length == len(data)
    assert file.get_data() == data
    assert set(load(file.get_data())) >= {"lstm.0.kernel", "head.bias"}


def test_other_users_read_the_checkpoints_of_a_shared_model(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = harness.model(ann, visibility="server")
    checkpoint = model["checkpoints"]["best"]
    assert bob.get(f"/v1/checkpoints/{checkpoint}").json["job"] is None
    assert bob.get(f"/v1/checkpoints/{checkpoint}/download").get_data() == safetensors(100)
