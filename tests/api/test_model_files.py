"""Models as files: exported from one server, and imported on another."""

import hashlib
import json
from pathlib import Path

from safetensors.numpy import load
from sqlalchemy import func, select

from api.http.head_policy import ApiHeadPolicy
from shared.database import make_sessions
from shared.tables import Blob, Checkpoint, Model
from tests.api.exported import SLOTS, bring, trained
from tests.api.harness import ENGLISH, ApiHarness, Person, assert_succeeded, problem
from worker.ml.checkpoint import digest, unpack


def test_a_model_goes_out_and_comes_back_with_every_bit(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = trained(harness, ann, name="letters")
    kept = ann.get(f"/v1/models/{model['id']}/checkpoints/best").json
    file = ann.get(f"/v1/models/{model['id']}/export")
    assert file.headers["Content-Disposition"] == "attachment; filename=letters.safetensors"
    data = file.get_data()
    assert file.content_length == len(data)
    assert digest(unpack(data)) == kept["digest"], "a checkpoint's reader reads an export"
    assert_succeeded(answer := bring(bob, data))
    imported = answer.json
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/models/{imported['id']}"
    assert (imported["name"], imported["owner"]) == ("letters", "bob")
    for name in ("spec", "preset", "tokenizer", "vocabulary_size", "characters_per_token"):
        assert imported[name] == model[name]
    assert (imported["corpus"], imported["job"]) == (None, None)
    assert imported["origin"]["digest"] == kept["digest"]
    again = bob.get(f"/v1/models/{imported['id']}/checkpoints/best").json
    facts = ("digest", "sha256", "bytes", "step", "loss", "val_loss", "bits_per_char", "exact")
    assert {name: again[name] for name in facts} == {name: kept[name] for name in facts}
    assert bob.get(f"/v1/models/{imported['id']}").json == imported
    assert bob.items("/v1/models") == [imported]
    assert again["lineage"]["corpus_sha256"] == hashlib.sha256(ENGLISH.encode()).hexdigest()
    # It can go on from there, and be exported again.
    second = bob.get(f"/v1/models/{imported['id']}/export").get_data()
    assert digest(unpack(second)) == kept["digest"]


def test_without_its_optimizer_state_it_is_a_quarter_of_the_size(
    harness: ApiHarness, ann: Person
) -> None:
    model = trained(harness, ann)
    whole = ann.get(f"/v1/models/{model['id']}/export").get_data()
    part = ann.get(f"/v1/models/{model['id']}/export?optimizer=false").get_data()
    arrays = load(part)
    assert not any(name.startswith("training.") for name in arrays)
    for name, array in load(whole).items():
        assert name.startswith("training.") or (array == arrays[name]).all()
    assert len(load(whole)) == (1 + len(SLOTS)) * len(arrays)
    imported = bring(ann, part, "?name=light").json
    assert (imported["name"], imported["origin"]["optimizer"]) == ("light", False)
    checkpoint = ann.get(f"/v1/models/{imported['id']}/checkpoints/best").json
    assert checkpoint["digest"] == digest(unpack(part))
    again = ann.get(f"/v1/models/{imported['id']}/export").get_data()
    assert bring(ann, again).json["origin"]["optimizer"] is False


def test_an_imported_model_generates_scores_and_is_trained_on(
    harness: ApiHarness, ann: Person
) -> None:
    corpus = ann.upload()
    model = trained(harness, ann, corpus=corpus)
    imported = bring(ann, ann.get(f"/v1/models/{model['id']}/export").get_data()).json
    written = ann.post("/v1/generate", {"model": imported["id"], "prompt": "It "})
    assert written.status_code == 202
    harness.write(written.json)
    assert ann.get(f"/v1/jobs/{written.json['id']}").json["texts"][0]["text"] == "a text"
    assert ann.post("/v1/score", {"model": imported["id"], "text": "It was"}).status_code == 202
    error = problem(ann.post("/v1/generate", {"model": imported["id"]}), 422)["errors"][0]
    assert error["field"] == "prompt"
    assert "was imported" in error["message"]
    start = {"from": imported["checkpoints"]["best"]}
    trained_on = ann.train(corpus, **start)
    assert trained_on["spec"]["units"] == model["spec"]["units"]
    # The text is the one of its training, as the file says: the pieces that judge it stay.
    detail = problem(ann.post("/v1/train", {"corpus": corpus, **start, "held_out": 0.2}), 422)
    assert "held-out pieces stay" in detail["errors"][0]["message"]
    other = ann.upload(ENGLISH + "And more.", name="other")
    assert ann.train(other, **start, held_out=0.2)["spec"]["held_out"] == 0.2


def test_who_may_not_see_the_corpus_exports_nothing_of_it(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = trained(harness, ann, visibility="server")
    origins = {}
    for person in (ann, bob):
        data = person.get(f"/v1/models/{model['id']}/export").get_data()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        origins[person.name] = json.loads(header["__metadata__"]["quire.model"])["origin"]
    assert origins["ann"]["corpus_sha256"] is not None
    assert origins["bob"]["corpus_sha256"] is None
    # An importer who shares the model tells others nothing more either.
    data = ann.get(f"/v1/models/{model['id']}/export").get_data()
    imported = bring(ann, data, "?visibility=server").json
    assert imported["origin"]["corpus_sha256"] is not None
    shown = bob.get(f"/v1/models/{imported['id']}").json
    assert shown["visibility"] == "server"
    assert shown["origin"]["corpus_sha256"] is None
    assert any(
        event["action"] == "model.visibility_changed"
        for event in harness.person("auditor", "admin").items("/v1/audit")
    )


def test_what_is_to_be_exported_must_be_there(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload())
    path = f"/v1/models/{job['model']}/export"
    assert problem(ann.get(path), 409)["type"] == "/problems/no-checkpoint-yet"
    model = trained(harness, ann)
    problem(ann.get(f"/v1/models/{model['id']}/export?checkpoint={job['model']}"), 404)
    problem(ann.get(f"/v1/models/{model['id']}/export?checkpoint=newest"), 404)
    problem(ann.get(f"/v1/models/{model['id']}/export?optimizer=perhaps"), 422)


def test_an_import_repeated_with_its_key_is_one_model(harness: ApiHarness, ann: Person) -> None:
    model = trained(harness, ann)
    data = ann.get(f"/v1/models/{model['id']}/export").get_data()
    key = {"headers": {"Idempotency-Key": "once"}}
    first, second = (bring(ann, data, **key) for _ in range(2))
    assert first.json == second.json
    assert second.headers["Idempotency-Replayed"] == "true"
    assert problem(bring(ann, data, "?name=other", **key), 409)
    assert len(ann.items("/v1/models")) == 2


def test_imports_count_and_leave_nothing_behind(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    model = trained(harness, ann)
    data = ann.get(f"/v1/models/{model['id']}/export").get_data()
    usage = ann.get("/v1/usage").json
    imported = bring(ann, data).json
    size = ann.get(f"/v1/checkpoints/{imported['checkpoints']['best']}").json["bytes"]
    after = ann.get("/v1/usage").json
    assert after["stored_bytes"]["used"] == usage["stored_bytes"]["used"] + size
    assert after["models"]["used"] == 2
    assert ann.delete(f"/v1/models/{imported['id']}?purge=true").status_code == 204
    cap = {"max_stored_bytes": int(usage["stored_bytes"]["used"] + size - 1)}
    assert admin.patch("/v1/usage/ann", cap).status_code == 200
    assert problem(bring(ann, data), 403)["type"] == "/problems/storage-full"
    for wrong in (data[:-4], data + b"0", data[8:]):
        assert problem(bring(ann, wrong), 422)["code"]
    with make_sessions(harness.engine)() as session:
        counts = [session.scalar(select(func.count()).select_from(each)) for each in (
            Model, Checkpoint, Blob
        )]  # fmt: skip
    assert counts == [1, 1, 2]


def test_an_imported_model_can_be_had_back(harness: ApiHarness, ann: Person) -> None:
    model = trained(harness, ann)
    data = ann.get(f"/v1/models/{model['id']}/export").get_data()
    imported = bring(ann, data).json
    address = f"/v1/models/{imported['id']}"
    assert ann.delete(address).status_code == 204
    assert ann.get(address).status_code == 404
    assert [each["id"] for each in ann.items("/v1/models?deleted=true")] == [imported["id"]]
    restored = ann.post(f"{address}/restore")
    assert_succeeded(restored)
    assert restored.json == imported
    assert_succeeded(ann.get(f"{address}/export"))


def test_a_request_must_be_the_file(harness: ApiHarness, ann: Person) -> None:
    model = trained(harness, ann)
    data = ann.get(f"/v1/models/{model['id']}/export").get_data()
    wrong = ann.post("/v1/models/import", {"file": "x"})
    assert "application/octet-stream" in problem(wrong, 415)["detail"]
    assert problem(bring(ann, data, "?nam=x"), 422)["errors"][0]["field"] == "nam"
    assert problem(bring(ann, data, "?visibility=group"), 422)["errors"][0]["field"] == "visibility"
    download = ann.get(f"/v1/checkpoints/{model['checkpoints']['best']}/download").get_data()
    refused = problem(bring(ann, download), 422)
    assert refused["code"] == "no-export"
    assert "quire model export" in refused["detail"]


def test_the_front_reads_as_much_as_a_model_may_have(harness: ApiHarness, ann: Person) -> None:
    policy = ApiHeadPolicy(harness.app)
    limit = 1024**3
    assert policy.body_limit("POST", "/v1/models/import") == limit
    assert policy.body_limit("POST", "/v1/train") < limit
    too_long = bring(ann, b"", environ_overrides={"CONTENT_LENGTH": str(limit + 1)})
    assert "QUIRE_MAX_MODEL_BYTES" in problem(too_long, 413)["detail"]


def test_the_page_of_numpy_runs_an_export(harness: ApiHarness, ann: Person) -> None:
    page = (Path(__file__).parents[2] / "docs" / "checkpoint-format.md").read_text()
    scope: dict[str, object] = {}
    exec(page.split("```python\n")[1].split("```")[0], scope)  # noqa: S102
    model = trained(harness, ann)
    data = ann.get(f"/v1/models/{model['id']}/export?optimizer=false").get_data()
    network = scope["Network"](data)  # type: ignore[operator]
    text = network.write("It was ", 20)
    assert len(text) == 20
    assert set(text) <= set(ENGLISH)
