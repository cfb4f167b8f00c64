"""What can be told of a text if asked: alternatives, copies, and what may follow a prompt."""

from dataclasses import replace
from typing import Any

import pytest

from shared.checkpoint_aliases import resolve
from shared.event_publisher import EventPublisher
from shared.settings import Settings
from tests.api.harness import ApiHarness, Person, problem, record
from tests.api.sse import EventStreamClient

TOP = [[("t", -0.25), ("x", -1.5)], [("e", -0.5), ("", -2.0)]]
SPANS = [(3, 16, 70), (30, 20, 5)]
NEXT = [
    {
        "temperature": 0.5,
        "entropy_bits": 1.25,
        "rest": 0.1,
        "tokens": [["t", 0.9], ["x", 0.0]],
    }
]


def write(harness: ApiHarness, job: Any, **fields: Any) -> None:
    """Complete a generation with one text, as a worker would."""
    claim = harness.claim(job["id"], "generate")
    with harness.engine.connect() as connection:
        checkpoint = resolve(connection, claim.model_id, claim.spec["checkpoint"])
    text = record(0, "te", checkpoint, echo=claim.spec["echo"])
    harness.queue.succeed(claim, [replace(text, **fields)])


def test_alternatives_are_stored_with_a_text(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)["id"]
    job = ann.post("/v1/generate", {"model": model, "top_logprobs": 2, "length": 2}).json
    assert (job["spec"]["top_logprobs"], job["spec"]["logprobs"]) == (2, True)
    write(harness, job, logprobs=[-0.25, -0.5], tokens=["t", "e"], top_logprobs=TOP)
    [text] = ann.get(f"/v1/jobs/{job['id']}").json["texts"]
    assert text["tokens"] == ["t", "e"]
    assert text["top_logprobs"] == [
        [{"token": "t", "logprob": -0.25}, {"token": "x", "logprob": -1.5}],
        [{"token": "e", "logprob": -0.5}, {"token": "", "logprob": -2.0}],
    ]
    assert ann.get(f"/v1/texts/{text['id']}").json["top_logprobs"] == text["top_logprobs"]
    plain = ann.post("/v1/generate", {"model": model}).json
    assert not {"top_logprobs", "copied_spans", "next"} & set(plain["spec"]), "unasked"
    write(harness, plain)
    [text] = ann.get(f"/v1/jobs/{plain['id']}").json["texts"]
    names = ("tokens", "top_logprobs", "copied_spans", "next")
    assert [text[name] for name in names] == [None] * 4


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"top_logprobs": 11}, "top_logprobs", "less than or equal to 10"),
        ({"top_logprobs": -1}, "top_logprobs", "greater than or equal to 0"),
        ({"top_logprobs": 5, "length": 30_000}, "top_logprobs", "may return 100,000"),
        ({"copied_spans": "yes"}, "copied_spans", "boolean"),
    ],
)
def test_what_can_not_be_told_is_refused(
    harness: ApiHarness, ann: Person, fields: dict[str, Any], field: str, told: str
) -> None:
    model = harness.model(ann)["id"]
    refused = problem(ann.post("/v1/generate", {"model": model, **fields}), 422)
    assert refused["errors"][0]["field"] == field
    assert told in refused["detail"]


def test_who_may_not_read_the_corpus_is_told_no_copies(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = harness.model(ann, visibility="server")
    asked = {"model": model["id"], "prompt": "It ", "copied_spans": True}
    copied = {"copied_characters": 20, "copied_at": 30, "copied_from": 5, "copied_spans": SPANS}
    shown = {}
    for person in (ann, bob):
        job = person.post("/v1/generate", asked | {"echo": person is ann}).json
        write(harness, job, **copied)
        shown[person.name] = f"/v1/jobs/{job['id']}"
    [mine] = ann.get(shown["ann"]).json["texts"]
    # Positions are those of the text as it is shown: with its prompt.
    assert mine["copied_spans"] == [
        {"start": 6, "length": 16, "from": 70},
        {"start": 33, "length": 20, "from": 5},
    ]
    for path in (shown["bob"], f"/v1/texts?job={shown['bob'].rsplit('/', 1)[1]}"):
        body = bob.get(path).json
        [theirs] = body.get("texts") or body["items"]
        assert theirs["copied_spans"] is None
    ann.patch(f"/v1/corpora/{model['corpus']}", {"allow_excerpts": True})
    [theirs] = bob.get(shown["bob"]).json["texts"]
    assert [span["start"] for span in theirs["copied_spans"]] == [3, 30]
    ann.patch(f"/v1/corpora/{model['corpus']}", {"allow_excerpts": False})
    assert bob.get(shown["bob"]).json["texts"][0]["copied_spans"] is None


def test_what_may_follow_a_prompt(harness: ApiHarness, ann: Person, bob: Person) -> None:
    model = harness.model(ann)["id"]
    body = {"model": model, "prompt": "It ", "temperature": [0.5, 1], "top": 2}
    job = ann.post("/v1/next", body).json
    assert (job["kind"], job["status"], job["spec"]["next"]) == ("generate", "queued", {"top": 2})
    assert job["spec"]["temperatures"] == [0.5, 1.0]
    write(harness, job, text="", finish_reason="next", next_tokens=NEXT)
    [text] = ann.get(f"/v1/jobs/{job['id']}").json["texts"]
    assert (text["text"], text["finish_reason"]) == ("", "next")
    [found] = text["next"]
    assert (found["temperature"], found["entropy_bits"], found["rest"]) == (0.5, 1.25, 0.1)
    assert found["tokens"][0] == {
        "token": "t",
        "probability": 0.9,
        "logprob": pytest.approx(-0.10536, abs=1e-4),
    }
    assert found["tokens"][1] == {"token": "x", "probability": 0.0, "logprob": None}
    again = ann.post(f"/v1/jobs/{job['id']}/rerun")
    assert (again.status_code, again.json["spec"]) == (202, job["spec"])
    one = ann.post("/v1/next", {"model": model, "prompt": "It ", "temperature": 0.7})
    assert one.json["spec"]["temperatures"] == [0.7]
    assert one.json["spec"]["next"] == {"top": 20}
    problem(bob.post("/v1/next", body), 404)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "It €"}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"temperature": 11}, "temperature"),
        ({"temperature": []}, "temperature"),
        ({"temperature": {"from": 0.5, "to": 1}}, "temperature"),
        ({"top": 0}, "top"),
        ({"top": 1001}, "top"),
        ({"length": 3}, "length"),
    ],
)
def test_a_look_ahead_that_makes_no_sense_is_refused(
    harness: ApiHarness, ann: Person, fields: dict[str, Any], field: str
) -> None:
    model = harness.model(ann)["id"]
    refused = problem(ann.post("/v1/next", {"model": model, "prompt": "It ", **fields}), 422)
    assert refused["errors"][0]["field"].startswith(field)


def test_alternatives_are_streamed_and_told_once(
    harness: ApiHarness, ann: Person, settings: Settings
) -> None:
    """A new attempt may cut its pieces elsewhere: what was sent is not sent again."""
    model = harness.model(ann)["id"]
    job = ann.post("/v1/generate", {"model": model, "top_logprobs": 1, "length": 4}).json
    claim, publisher = harness.claim(job["id"], "generate"), EventPublisher(settings.broker)

    def publish(offset: int, text: str) -> None:
        told = {
            "tokens": list(text),
            "logprobs": [-0.5 * ord(each) for each in text],
            "top_logprobs": [[(each, -0.5 * ord(each))] for each in text],
        }
        publisher.publish(
            claim.job_id, claim.attempt, "piece", position=0, offset=offset, text=text, **told
        )
        assert publisher.flush()

    client = EventStreamClient(ann, job["id"])
    client.until(lambda event: event.kind == "state")
    publish(0, "th")
    assert client.until(lambda event: event.kind == "piece").data["tokens"] == ["t", "h"]
    publish(0, "then")
    piece = client.until(lambda event: event.kind == "piece").data
    client.close()
    assert (piece["text"], piece["offset"], piece["tokens"]) == ("en", 2, ["e", "n"])
    assert piece["logprobs"] == [-0.5 * ord("e"), -0.5 * ord("n")]
    assert piece["top_logprobs"][1] == [{"token": "n", "logprob": -0.5 * ord("n")}]
