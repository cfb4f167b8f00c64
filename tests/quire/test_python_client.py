"""Jobs, models and corpora of the Python client, on a real server whose worker is the test."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quire import (
    AsyncClient,
    Client,
    Conflict,
    Generation,
    InvalidInput,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    JobUpdate,
    NotFound,
    Scoring,
    ServerUnreachable,
    Training,
)
from shared.queue.types import Claim, problem
from shared.tables import Kind
from tests.api.harness import ENGLISH, record
from tests.quire.conftest import Served
from tests.quire.test_watch import wait_until
from tests.services.cutting_proxy import Proxy

SECONDS = 60.0
Work = Callable[[Claim], None]


TINY: dict[str, Any] = {"preset": "classic", "epochs": 4}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sync", "aio"):
        monkeypatch.setattr(f"quire.client.{name}.training.WATCH_SECONDS", 0.05)
        monkeypatch.setattr(f"quire.client.{name}.job.POLL_SECONDS", 0.1)
    monkeypatch.setattr("api.operations.following.event_stream.BLOCK_SECONDS", 0.3)
    monkeypatch.setattr("api.operations.following.job_follower.BLOCK_SECONDS", 0.3)


@contextmanager
def worker(served: Served, kind: Kind, work: Work) -> Iterator[None]:
    """A worker that claims the next job of a kind, and does with it what the test says."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            claims: list[Claim] = []

            def claimed() -> bool:
                claims.extend(served.world.queue.claim(kind, "here/cpu/x"))
                return bool(claims)

            wait_until(claimed)
            work(claims[0])
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(SECONDS)
        assert not failures, failures


def trained(served: Served, epochs: int = 2) -> Work:
    def work(claim: Claim) -> None:
        for number in range(1, epochs + 1):
            served.epoch(claim, number)
        served.world.queue.succeed(claim)

    return work


def wrote(served: Served, *texts: str) -> Work:
    return lambda claim: served.world.queue.succeed(
        claim, [record(number, text, None) for number, text in enumerate(texts)]
    )


def test_a_training_is_watched_to_its_model(served: Served, client: Client, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text(ENGLISH)
    job = client.train(str(tmp_path / "letters.txt"), **TINY)
    assert (type(job), job.name, job.status) == (Training, "letters", "queued")
    with worker(served, "train", trained(served)):
        updates = list(job.watch())
    assert (updates[-1].status, job.status) == ("succeeded", "succeeded")
    assert [each.step for each in updates if each.metric] == [50, 90, 100, 150, 190, 200]
    assert [each.val_loss for each in updates if each.val_loss] == [1.6, 1.5]
    assert len([each for each in updates if each.text]) == 4
    model = job.result()
    assert model.name == "letters"
    assert [point.step for point in job.curve()] == [50, 90, 100, 150, 190, 200]
    assert "polyline" in job._repr_html_()
    assert "polyline" in client.job(job.id)._repr_html_(), "also of a job that nobody watched"
    assert next(model.list_checkpoints()).step == 200
    path = model.download(tmp_path / "letters.safetensors")
    assert path.read_bytes()[8:9] == b"{"


def test_watching_again_tells_everything_again(served: Served, client: Client) -> None:
    claim = served.train()
    served.epoch(claim, 1)
    served.world.queue.succeed(claim)
    first, second = (list(client.job(claim.job_id).watch()) for _ in range(2))
    assert [each.step for each in first] == [each.step for each in second]
    assert len(first) > 4


@pytest.fixture
def proxy(served: Served) -> Iterator[Proxy]:
    forwarding = Proxy(served.url)
    yield forwarding
    forwarding.close()


def test_watching_survives_cuts_of_the_connection(
    served: Served, proxy: Proxy, tmp_path: Path
) -> None:
    done = threading.Event()

    def work(claim: Claim) -> None:
        for number in (1, 2, 3):
            served.epoch(claim, number)
            proxy.cut()
            done.wait(0.2)
        served.world.queue.succeed(claim)

    with Client(proxy.url, served.ann.key) as client:
        job = client.train(text=ENGLISH, name="poet", **TINY)
        with worker(served, "train", work):
            updates = list(job.watch())
    steps = [each.step for each in updates if each.metric]
    assert steps == [50, 90, 100, 150, 190, 200, 250, 290, 300]
    assert len([each for each in updates if each.text]) == 6
    assert proxy.cuts == 3


def test_a_generation_that_is_watched_survives_a_cut(
    served: Served, proxy: Proxy, redis_url: str
) -> None:
    model_id = served.world.model(served.ann)["id"]
    with Client(proxy.url, served.ann.key) as client:
        generation = client.model(model_id).submit("It ", length=20)

        def work(claim: Claim) -> None:
            proxy.cut()
            wrote(served, "was so")(claim)

        with worker(served, "generate", work):
            updates = list(generation.watch())
    assert [each.text.text for each in updates if each.text] == ["was so"]
    assert updates[-1] == JobUpdate("succeeded")
    assert [text.text for text in generation.result()] == ["was so"]


def test_texts_are_written_and_streamed(served: Served, client: Client) -> None:
    served.world.model(served.ann, name="poet")
    model = client.model("poet")
    with worker(served, "generate", wrote(served, "was so")):
        text = model.generate("It ", length=20, temperature=(1.2, 0.4), seed=7, top_k=5)
    assert (str(text), text.text) == ("It was so", "was so")
    job = next(client.jobs(kind="generate"))
    assert isinstance(job, Generation)
    assert job.spec["temperatures"] == [{"from": 1.2, "to": 0.4}]
    assert (job.spec["seed"], job.spec["top_k"]) == (7, 5)
    with worker(served, "generate", wrote(served, "was so", "was not")):
        texts = model.generate_many("It ", n=2, temperature=0.2)
    assert [each.text for each in texts] == ["was so", "was not"]
    for echo, expected in ((False, "was so"), (True, "It was so")):
        with worker(served, "generate", wrote(served, "was so")):
            assert "".join(model.stream("It ", echo=echo)) == expected
    with worker(served, "generate", wrote(served, "")):
        model.score("It was so")
    assert isinstance(next(client.jobs(kind="generate")), Scoring)


def test_a_failed_and_a_cancelled_job_are_raised(served: Served, client: Client) -> None:
    job = client.train(text=ENGLISH, **TINY)
    error = problem("diverged", "The loss exploded", "Lower the learning rate.")
    with (
        worker(served, "train", lambda claim: served.world.queue.fail(claim, error)),
        pytest.raises(JobFailed, match="The loss exploded: Lower the learning rate") as raised,
    ):
        job.result()
    assert raised.value.problem.title == "The loss exploded"
    assert raised.value.job.id == job.id
    other = client.train(text=ENGLISH, **TINY)
    other.cancel()
    with pytest.raises(JobCancelled, match="was cancelled"):
        other.result()
    model_id = served.world.model(served.ann)["id"]
    with (
        worker(served, "generate", lambda claim: served.world.queue.fail(claim, error)),
        pytest.raises(JobFailed),
    ):
        list(client.model(model_id).stream("It "))


def test_several_texts_are_refused_where_one_is_returned(served: Served, client: Client) -> None:
    model = client.model(served.world.model(served.ann)["id"])
    for options in ({"n": 2}, {"temperature": [0.2, 0.5]}):
        with pytest.raises(InvalidInput, match="use generate_many"):
            model.generate("It ", **options)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="use generate_many"):
            next(model.stream("It ", **options))  # type: ignore[arg-type]


def test_errors_of_the_server_have_their_classes(served: Served, client: Client) -> None:
    with pytest.raises(InvalidRequest) as invalid:
        client.train(text=ENGLISH, units=7)
    assert [field.field for field in invalid.value.fields] == ["units"]
    with pytest.raises(InvalidRequest) as refused:
        client.upload(text="\x00" * 100)
    assert refused.value.code
    assert refused.value.ways
    with pytest.raises(NotFound, match=r"no model is called 'x': models\(\) lists them"):
        client.model("x")
    with pytest.raises(NotFound):
        client.corpus("00000000-0000-4000-8000-000000000000")
    corpus = client.upload(text=ENGLISH, name="used")
    client.train(corpus, **TINY)
    with pytest.raises(Conflict):
        corpus.delete()


def test_a_model_and_a_corpus_change_with_their_handles(served: Served, client: Client) -> None:
    model = client.model(served.world.model(served.ann)["id"])
    assert model.rename("other").share().visibility == "server"
    assert (model.name, model.unshare().visibility) == ("other", "private")
    assert client.model("other").id == model.id
    with pytest.raises(Exception, match="frozen"):
        model.name = "mine"  # type: ignore[misc]
    corpus = client.upload(text=ENGLISH, name="orwell")
    assert corpus.rename("blair").name == "blair"
    corpus.delete()
    model.delete()
    with pytest.raises(NotFound):
        model.refresh()


def test_the_asynchronous_client_is_the_same(served: Served) -> None:
    async def use() -> None:
        async with AsyncClient(served.url, served.ann.key) as client:
            job = await client.train(text=ENGLISH, name="poet", **TINY)
            steps = [update.step async for update in job.watch() if update.metric]
            assert steps == [50, 90, 100]
            model = await job.result()
            assert [each.name async for each in client.models()] == ["poet"]
            with worker(served, "generate", wrote(served, "was so")):
                assert [piece async for piece in model.stream("It ")] == ["was so"]
            assert "polyline" in job._repr_html_()
            unseen = await client.job(job.id)
            assert "poet" in unseen._repr_html_(), "which can't ask for its curve"
            with pytest.raises(NotFound):
                await client.model("nobody's")

    with worker(served, "train", trained(served, epochs=1)):
        asyncio.run(use())


def test_a_server_that_is_away_for_too_long_is_told(
    proxy: Proxy, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quire.client.sync.retry.MAX_OUTAGE_SECONDS", 0.0)
    with Client(proxy.url, served.ann.key) as client:
        job = client.train(text=ENGLISH, **TINY)
        proxy.close()
        with pytest.raises(ServerUnreachable):
            list(job.watch())
