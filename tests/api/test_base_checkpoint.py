"""Start from a checkpoint; budgets; and which checkpoints are kept."""

from typing import Any

import pytest

from tests.api.harness import ENGLISH, ApiHarness, Person, problem, record


def test_a_training_starts_from_a_checkpoint(harness: ApiHarness, ann: Person) -> None:
    before = harness.model(ann, units=64, epochs=3)
    checkpoint = before["checkpoints"]["best"]
    other = ann.upload(ENGLISH + " Éclair? Übrigens!", name="other")
    job = ann.train(other, **{"from": checkpoint})
    assert (job["spec"]["units"], job["spec"]["epochs"]) == (64, 3)
    model = ann.get(f"/v1/models/{job['model']}").json
    assert model["from_checkpoint"] == checkpoint
    assert model["vocabulary_size"] == len(set(ENGLISH + " Éclair? Übrigens!"))
    claim = harness.claim(job["id"])
    own = harness.checkpoint(claim, 10)
    lineage = ann.get(f"/v1/checkpoints/{own}").json["lineage"]
    assert (lineage["from_checkpoint"], lineage["corpus"]) == (checkpoint, other)
    shorter = ann.train(other, **{"from": checkpoint, "epochs": 1})
    assert shorter["spec"]["epochs"] == 1


@pytest.mark.parametrize(
    "number", [{"units": 32}, {"layers": 2}, {"embedding": 8}, {"tied_embedding": True}]
)
def test_the_shape_of_the_network_is_fixed(
    harness: ApiHarness, ann: Person, number: dict[str, Any]
) -> None:
    before = harness.model(ann, units=64)
    answer = ann.post(
        "/v1/train",
        {"corpus": before["corpus"], "from": before["checkpoints"]["best"], **number},
    )
    error = problem(answer, 422)["errors"][0]
    assert error["field"] == next(iter(number))
    assert "train a new network" in error["message"]


@pytest.mark.parametrize("changes", [{"held_out": 0.2}, {"holdout": "tail"}])
def test_on_the_same_corpus_the_held_out_pieces_stay(
    harness: ApiHarness, ann: Person, changes: dict[str, Any]
) -> None:
    before = harness.model(ann, units=64)
    start = {"from": before["checkpoints"]["best"]}
    answer = ann.post("/v1/train", {"corpus": before["corpus"], **start, **changes})
    error = problem(answer, 422)["errors"][0]
    assert error["field"] == next(iter(changes))
    assert "held-out pieces stay" in error["message"]
    again = ann.upload(name="the same text, uploaded again")
    assert ann.post("/v1/train", {"corpus": again, **start, **changes}).status_code == 422
    kept = ann.train(again, preset="classic", predict="every", embedding=64, **start, units=64)
    assert (kept["spec"]["held_out"], kept["spec"]["holdout"]) == (0.05, "spread")
    other = ann.upload(ENGLISH + " And more.", name="other")
    assert ann.train(other, **start, **changes)["spec"] | changes == kept["spec"] | changes | {
        name: value for name, value in before["spec"].items() if name not in changes
    }


def test_a_small_alphabet_s_network_stays_as_it_is_on_a_large_one(
    harness: ApiHarness, ann: Person
) -> None:
    before = harness.model(ann, units=64)
    chinese = ann.upload("".join(chr(0x4E00 + i) for i in range(1200)) * 4, name="a")
    spec = ann.train(chinese, **{"from": before["checkpoints"]["best"], "window": 32})["spec"]
    assert (spec["tied_embedding"], spec["embedding"]) == (False, before["spec"]["embedding"])


def test_a_window_fits_the_pieces_that_stay(harness: ApiHarness, ann: Person) -> None:
    before = harness.model(ann, window=16)
    start = {"corpus": before["corpus"], "from": before["checkpoints"]["best"]}
    count = int(len(ENGLISH) * 0.05)
    longest = -(-count // (count // (4 * 16 + 1)))
    error = problem(ann.post("/v1/train", {**start, "window": longest}), 422)["errors"][0]
    assert (error["field"], error["value"]) == ("window", longest)
    assert f"at most {longest - 1}" in error["message"]
    assert ann.post("/v1/train", {**start, "window": longest - 1}).status_code == 202


def test_a_private_corpus_is_not_told_by_what_may_change(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    shown = harness.model(ann, visibility="server")["checkpoints"]["best"]
    corpus = bob.upload()  # the same text, which bob could only have guessed
    answer = bob.post("/v1/train", {"corpus": corpus, "from": shown, "held_out": 0.2})
    assert answer.status_code == 202


def test_an_invisible_checkpoint_is_not_found(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    private = harness.model(ann)["checkpoints"]["best"]
    corpus = bob.upload()
    for unknown in (private, "01989898-0000-7000-8000-000000000000"):
        assert (
            unknown
            in problem(bob.post("/v1/train", {"corpus": corpus, "from": unknown}), 404)["detail"]
        )
    shown = harness.model(ann, visibility="server")["checkpoints"]["best"]
    assert bob.post("/v1/train", {"corpus": corpus, "from": shown}).status_code == 202


def test_a_budget_replaces_epochs(ann: Person) -> None:
    corpus = ann.upload()
    job = ann.train(corpus, budget={"seconds": 60})
    assert (job["spec"]["epochs"], job["spec"]["budget"]) == (None, {"seconds": 60.0})
    assert job["estimate"]["steps"] is None
    both = ann.post("/v1/train", {"corpus": corpus, "budget": {"seconds": 60}, "epochs": 3})
    assert problem(both, 422)["errors"][0]["field"] == "budget"
    for seconds in (0, 1e9):
        wrong = ann.post("/v1/train", {"corpus": corpus, "budget": {"seconds": seconds}})
        assert problem(wrong, 422)["errors"][0]["field"].startswith("budget")


def test_the_newest_best_and_cited_checkpoints_are_kept(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload(), keep=2)
    claim = harness.claim(job["id"])
    cited = harness.checkpoint(claim, 1, 3.0)
    asked = ann.post("/v1/generate", {"model": job["model"], "checkpoint": cited}).json
    losses = {2: 2.0, 3: 1.0, 4: 1.5, 5: 1.6, 6: 1.7}
    ids = {step: harness.checkpoint(claim, step, loss) for step, loss in losses.items()}
    kept = {each["id"] for each in ann.items(f"/v1/models/{job['model']}/checkpoints")}
    assert kept == {cited, ids[3], ids[5], ids[6]}, "an unfinished generation names the first"
    harness.write(asked)
    sampled = record(0, "sampled", ids[5], requested=False, step=5)
    harness.queue.record_texts(claim, [sampled])
    newer = harness.checkpoint(claim, 7, 1.8)
    kept = {each["id"] for each in ann.items(f"/v1/models/{job['model']}/checkpoints")}
    assert kept == {cited, ids[3], ids[6], newer}, "a sampled text keeps nothing"
    text = ann.items(f"/v1/jobs/{asked['id']}/texts")[0]
    assert ann.get(f"/v1/texts/{text['id']}").json["lineage"]["checkpoint"] == cited


def test_no_checkpoint_is_deleted_during_a_generation(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload(), keep=1)
    claim = harness.claim(job["id"])
    first = harness.checkpoint(claim, 1, 1.0)
    asked = ann.post("/v1/generate", {"model": job["model"]}).json
    writing = harness.claim(asked["id"], "generate")
    later = [harness.checkpoint(claim, step, 1 / step) for step in (2, 3)]
    there = {each["id"] for each in ann.items(f"/v1/models/{job['model']}/checkpoints")}
    assert there == {first, *later}
    harness.queue.succeed(writing, [record(0, "a text", first)])
    harness.queue.retire_checkpoints()
    last = harness.checkpoint(claim, 4, 0.2)
    there = {each["id"] for each in ann.items(f"/v1/models/{job['model']}/checkpoints")}
    assert there == {first, last}, "the text cites the first; the last is newest and best"
