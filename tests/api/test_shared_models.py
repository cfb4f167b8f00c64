"""What a shared model does not tell of the private corpus that it was trained on."""

from typing import Any

from tests.api.harness import ApiHarness, Person, problem, record


def test_no_reply_tells_which_private_corpus_a_shared_model_was_trained_on(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload()
    model = harness.model(ann, corpus)
    assert ann.patch(f"/v1/models/{model['id']}", {"visibility": "server"}).status_code == 200
    answer = bob.post("/v1/generate", {"model": model["id"], "length": 5, "prompt": "It "})
    job = answer.json
    harness.write(job)
    text = bob.items("/v1/texts")[0]
    for reply in (
        answer,
        *map(
            bob.get,
            [
                f"/v1/jobs/{job['id']}",
                "/v1/jobs",
                f"/v1/jobs/{job['id']}/texts",
                f"/v1/jobs/{job['id']}/events",
                f"/v1/jobs/{job['id']}/history",
                f"/v1/texts/{text['id']}",
                "/v1/models",
                f"/v1/models/{model['id']}",
                f"/v1/models/{model['id']}/checkpoints",
                f"/v1/models/{model['id']}/checkpoints/best",
                f"/v1/checkpoints/{model['checkpoints']['best']}",
            ],
        ),
    ):
        assert corpus not in reply.text
    assert bob.post(f"/v1/jobs/{job['id']}/rerun").json["corpus"] is None
    assert ann.get(f"/v1/models/{model['id']}").json["corpus"] == corpus


def test_a_shared_model_shows_no_pieces_of_a_private_corpus_unless_its_owner_allows_it(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload()
    model = harness.model(ann, corpus)
    ann.patch(f"/v1/models/{model['id']}", {"visibility": "server"})
    request = {"model": model["id"], "length": 5}

    def copied_from(person: Person) -> set[Any]:
        job = person.post("/v1/generate", {**request, "prompt": "It "}).json
        claim = harness.claim(job["id"], "generate")
        text = record(
            0, "the sea", None, copied_characters=3, copied_at=0, copied_from=17, known_grams=1.0
        )
        harness.queue.succeed(claim, [text])
        text_id = person.items(f"/v1/jobs/{job['id']}/texts")[0]["id"]
        told = [
            person.get(f"/v1/jobs/{job['id']}").json["texts"][0],
            person.items(f"/v1/jobs/{job['id']}/texts")[0],
            person.items("/v1/texts")[0],
            person.get(f"/v1/texts/{text_id}").json,
        ]
        return {each["novelty"]["copied_from"] for each in told}

    for body in (request, {**request, "prompt_from": "corpus"}):
        error = problem(bob.post("/v1/generate", body), 422)
        assert error["errors"][0]["field"] == "prompt"
        assert "private" in error["detail"]
    assert ann.post("/v1/generate", request).status_code == 202, "her own corpus"
    assert (copied_from(bob), copied_from(ann)) == ({None}, {17})
    allowed = ann.patch(f"/v1/corpora/{corpus}", {"allow_excerpts": True})
    assert allowed.json["allow_excerpts"] is True
    random = bob.post("/v1/generate", request)
    assert random.status_code == 202
    assert copied_from(bob) == {17}
    ann.patch(f"/v1/corpora/{corpus}", {"allow_excerpts": False})
    problem(bob.post(f"/v1/jobs/{random.json['id']}/rerun"), 422)
    ann.patch(f"/v1/corpora/{corpus}", {"visibility": "server"})
    assert bob.post("/v1/generate", request).status_code == 202, "he may read the corpus"
