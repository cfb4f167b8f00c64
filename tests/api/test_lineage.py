"""The lineage of checkpoints and samples, and what it keeps from being deleted."""

from sqlalchemy import select

from shared.queue.types import CheckpointRecord
from shared.tables import Checkpoint
from tests.api.harness import ApiHarness, Person, record


def test_a_sample_without_a_checkpoint_has_its_training(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload(), preset="classic", keep=1)
    claim = harness.claim(job["id"])
    retired = harness.checkpoint(claim, 5, 3.0)
    texts = [
        record(0, "of one that is retired", retired, requested=False, step=5, epoch=1.0),
        record(0, "of a step between two", None, requested=False, step=7, epoch=1.4),
    ]
    harness.queue.record_texts(claim, texts)
    best = harness.checkpoint(claim, 10, 1.0)
    harness.queue.record_texts(
        claim, [record(0, "of one that is kept", best, requested=False, step=10, epoch=2.0)]
    )
    found = {
        text["text"]: ann.get(f"/v1/texts/{text['id']}").json["lineage"]
        for text in ann.items(f"/v1/jobs/{job['id']}/texts")
    }
    told = {text: (each["job"], each["step"], each["checkpoint"]) for text, each in found.items()}
    assert told == {
        "of one that is retired": (job["id"], 5, None),
        "of a step between two": (job["id"], 7, None),
        "of one that is kept": (job["id"], 10, best),
    }
    assert {each["model"] for each in found.values()} == {job["model"]}


def test_a_job_and_its_checkpoints_show_whether_they_are_exact(
    harness: ApiHarness, ann: Person
) -> None:
    job = ann.train(ann.upload())
    claim = harness.claim(job["id"])
    before = harness.checkpoint(claim, 5)
    assert ann.get(f"/v1/jobs/{job['id']}").json["exact"] is True
    with harness.engine.connect() as connection:
        row = connection.execute(select(Checkpoint).where(Checkpoint.id == before)).one()
    elsewhere = CheckpointRecord(
        step=9,
        epoch=0.9,
        loss=1.0,
        val_loss=1.0,
        digest=row.digest,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        fingerprint={"threads": 2},
        exact=False,
    )
    after = harness.queue.record_checkpoint(claim, elsewhere)
    listed = ann.items(f"/v1/models/{job['model']}/checkpoints")
    assert {each["id"]: each["exact"] for each in listed} == {before: True, after: False}
    assert ann.get(f"/v1/checkpoints/{after}").json["lineage"]["exact"] is False
    assert ann.get(f"/v1/jobs/{job['id']}").json["exact"] is False
    [shown] = ann.items("/v1/jobs")
    assert shown["exact"] is False


def test_a_base_checkpoint_is_kept_as_long_as_the_model(harness: ApiHarness, ann: Person) -> None:
    corpus = ann.upload()
    job = ann.train(corpus, keep=1)
    claim = harness.claim(job["id"])
    first = harness.checkpoint(claim, 1, 3.0)
    second = ann.train(corpus, **{"from": first})
    for step in (2, 3):
        last = harness.checkpoint(claim, step, 3.0 - step / 10)

    def there() -> set[str]:
        harness.queue.retire_checkpoints()
        return {each["id"] for each in ann.items(f"/v1/models/{job['model']}/checkpoints")}

    assert there() == {first, last}
    assert ann.post(f"/v1/jobs/{second['id']}/cancel").status_code == 202
    assert there() == {first, last}, "it can be run again"
    assert ann.delete(f"/v1/models/{second['model']}").status_code == 204
    assert there() == {first, last}, "the model can be restored"
    assert ann.delete(f"/v1/models/{second['model']}?purge=true").status_code == 204
    assert there() == {last}
