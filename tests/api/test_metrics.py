"""Loss curves, texts and history of a job, as a client polls them."""

from typing import Any

import pytest

from shared.queue.types import Claim, ProgressReport
from tests.api.harness import ApiHarness, Person, problem, record


def put(
    harness: ApiHarness, claim: Claim, step: int, loss: float, val_loss: float | None = None
) -> None:
    """Record a point, which is a validation if it has a validation loss."""
    progress = ProgressReport(step, 9000, step / 100, 90, loss, val_loss, 0.004, 10_000.0, 12.5)
    harness.queue.record_progress(claim, progress, validated=val_loss is not None)


def steps(points: list[Any]) -> list[int]:
    return [point["step"] for point in points]


@pytest.fixture
def claim(harness: ApiHarness, ann: Person) -> Claim:
    return harness.claim(ann.train(ann.upload(), preset="classic")["id"])


def test_a_point_has_all_fields_and_validations_can_be_filtered(
    harness: ApiHarness, ann: Person, claim: Claim
) -> None:
    put(harness, claim, 50, 2.0)
    put(harness, claim, 100, 1.75, val_loss=1.5)
    path = f"/v1/jobs/{claim.job_id}/metrics"
    first, second = ann.items(path)
    assert first.pop("at").endswith("Z")
    assert first == {
        "step": 50,
        "epoch": 0.5,
        "loss": 2.0,
        "val_loss": None,
        "bits_per_char": None,
        "piece_losses": None,
        "learning_rate": 0.004,
        "characters_per_second": 10_000.0,
    }
    assert (second["loss"], second["val_loss"]) == (1.75, 1.5)
    assert steps(ann.items(f"{path}?validation=true")) == [100]
    assert steps(ann.items(f"{path}?validation=false")) == [50]


def test_a_validation_has_the_loss_of_each_piece(
    harness: ApiHarness, ann: Person, claim: Claim
) -> None:
    progress = ProgressReport(9, 90, 1.0, 9, 2.0, 1.5, 0.004, 10_000.0, 12.5)
    for losses in ([1.2, 1.3], [1.25, None, 1.75]):
        harness.queue.record_progress(claim, progress, piece_losses=losses)
        [point] = ann.items(f"/v1/jobs/{claim.job_id}/metrics?points=10")
        assert point["piece_losses"] == losses, "a repeated step replaces its point"


def test_a_client_can_ask_for_new_points_only(
    harness: ApiHarness, ann: Person, claim: Claim
) -> None:
    path = f"/v1/jobs/{claim.job_id}/metrics"
    assert ann.items(path) == []
    for step in (10, 20, 30):
        put(harness, claim, step, 2.0)
    assert steps(ann.items(f"{path}?after=0")) == [10, 20, 30]
    assert steps(ann.items(f"{path}?after=20")) == [30]
    assert ann.items(f"{path}?after=30") == []
    put(harness, claim, 40, 1.9)
    put(harness, claim, 30, 1.0)
    assert steps(ann.items(f"{path}?after=30")) == [40]
    assert ann.items(f"{path}?after=20")[0]["loss"] == 1.0, "a step done again replaces its point"
    page = ann.get(f"{path}?after=10&limit=2").json
    assert steps(page["items"]) == [20, 30]
    rest = ann.get(f"{path}?after=10&limit=2&cursor={page['next_cursor']}").json
    assert (steps(rest["items"]), rest["next_cursor"]) == ([40], None)


def test_a_thinned_curve_keeps_its_shape(harness: ApiHarness, ann: Person, claim: Claim) -> None:
    for step in range(1, 301):
        judged = 1.4 + abs(step - 200) / 1000 if step % 50 == 0 else None
        put(harness, claim, step, 14.5 if step == 171 else 3.0 - step / 200, judged)
    path = f"/v1/jobs/{claim.job_id}/metrics"
    page = ann.get(f"{path}?points=60").json
    thinned = steps(page["items"])
    assert page["next_cursor"] is None
    assert 20 <= len(thinned) <= 60
    assert thinned == sorted(set(thinned))
    assert {1, 171, 300} <= set(thinned), "the ends and the explosion stay"
    assert {50, 100, 150, 200, 250} <= set(thinned), "so many judged points fit, and stay"
    again = ann.get(f"{path}?points=60").json
    assert again == page
    whole = ann.get(f"{path}?points=300").json["items"]
    assert steps(whole) == list(range(1, 301)), "what fits is not thinned"
    newer = steps(ann.items(f"{path}?points=10&after=100"))
    assert (newer[0], newer[-1]) == (101, 300)
    assert len(newer) <= 10
    judged_only = ann.items(f"{path}?points=10&validation=true")
    assert steps(judged_only) == [50, 100, 150, 200, 250, 300]
    assert problem(ann.get(f"{path}?points=20&cursor=x"), 422)["errors"][0]["field"] == "cursor"


def test_points_without_a_loss_are_thinned_too(
    harness: ApiHarness, ann: Person, claim: Claim
) -> None:
    for step in range(1, 41):
        progress = ProgressReport(step, 90, step / 10, 9, None, None, 0.004, None, None)
        harness.queue.record_progress(claim, progress)
    thinned = steps(ann.items(f"/v1/jobs/{claim.job_id}/metrics?points=10"))
    assert thinned == [1, 40]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=-1", "after"),
        ("after=2147483648", "after"),
        ("after=x", "after"),
        ("points=9", "points"),
        ("points=2001", "points"),
        ("validation=perhaps", "validation"),
        ("limit=201", "limit"),
        ("before=3", "before"),
    ],
)
def test_the_query_of_a_curve_has_bounds(ann: Person, claim: Claim, query: str, field: str) -> None:
    body = problem(ann.get(f"/v1/jobs/{claim.job_id}/metrics?{query}"), 422)
    assert body["errors"][0]["field"] == field


def test_history_is_in_order_and_can_be_continued(
    harness: ApiHarness, ann: Person, claim: Claim
) -> None:
    harness.queue.record_event(claim, "resumed", step=30, epoch=0.3)
    path = f"/v1/jobs/{claim.job_id}/history"
    events = ann.items(path)
    assert [event["type"] for event in events] == ["submitted", "claimed", "resumed"]
    assert events[2]["data"] == {"step": 30, "epoch": 0.3}
    assert events[1]["attempt"] == 1
    assert ann.items(f"{path}?after={events[1]['id']}") == events[2:]
    assert ann.items(f"{path}?after={events[2]['id']}") == []
    page = ann.get(f"{path}?limit=2").json
    assert ann.get(f"{path}?limit=2&cursor={page['next_cursor']}").json["items"] == events[2:]
    problem(ann.get(f"{path}?after=-1"), 422)


def test_the_texts_of_a_training_can_be_filtered(
    harness: ApiHarness, ann: Person, claim: Claim
) -> None:
    checkpoint = harness.checkpoint(claim, 100)
    for epoch in (1, 2):
        texts = [
            record(i, f"{epoch} {heat}", checkpoint, heat, requested=False, step=100 * epoch,
                   epoch=float(epoch))
            for i, heat in enumerate((0.2, 0.5))
        ]  # fmt: skip
        harness.queue.record_texts(claim, texts)
    path = f"/v1/jobs/{claim.job_id}/texts"
    first = ann.items(path)[0]
    assert (first["step"], first["epoch"], first["temperature"]) == (100, 1.0, 0.2)
    assert [text["text"] for text in ann.items(f"{path}?after=100")] == ["2 0.2", "2 0.5"]
    assert [text["text"] for text in ann.items(f"{path}?temperature=0.5")] == ["1 0.5", "2 0.5"]
    assert ann.items(f"{path}?after=200") == []
    problem(ann.get(f"{path}?temperature=nan"), 422)
    problem(ann.get(f"{path}?after=-1"), 422)
