"""What bounds uploads and networks: free disk, and memory."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from api.byte_budget import ByteBudget
from shared.settings import Settings
from shared.tables import Blob
from tests.api.harness import ENGLISH, ApiHarness, Person, problem

UPLOAD = {"name": "x", "text": ENGLISH}


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    return settings.model_copy(update=getattr(request, "param", {}))


@pytest.mark.parametrize("settings", [{"min_free_bytes": 2**50}], indirect=True)
def test_uploads_are_refused_while_little_disk_is_free(harness: ApiHarness, ann: Person) -> None:
    answer = ann.post("/v1/corpora", UPLOAD)
    if harness.engine.dialect.name == "postgresql":
        # It tells no client how much of its disk is free.
        assert answer.status_code == 201
        return
    told = problem(answer, 507)
    assert told["type"] == "/problems/disk-low"
    assert "QUIRE_MIN_FREE_BYTES" in told["detail"]
    with harness.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Blob)) == 0
    assert ann.get("/v1/corpora").status_code == 200


@pytest.mark.parametrize("settings", [{"upload_memory_bytes": 200_000}], indirect=True)
def test_uploads_beyond_the_memory_are_refused_and_said_when_to_return(
    harness: ApiHarness, ann: Person
) -> None:
    memory: ByteBudget = harness.app.extensions["quire"].upload_memory
    form = {"file": (io.BytesIO(ENGLISH.encode()), "book.txt")}
    with memory.hold(190_000) as fits:
        assert fits
        assert ann.post("/v1/corpora", {"name": "x", "text": "small"}).status_code == 201
        refused = ann.post("/v1/corpora", UPLOAD)
        told = problem(refused, 503)
        assert told["type"] == "/problems/too-many-uploads"
        assert int(refused.headers["Retry-After"]) > 0
        problem(ann.post("/v1/corpora", data=form), 503)
        assert ann.get("/v1/corpora").status_code == 200
    # Each of these takes the whole memory and gives it back, refused or not.
    for _ in range(3):
        assert ann.post("/v1/corpora", UPLOAD | {"text": ENGLISH * 100}).status_code == 201
        problem(ann.post("/v1/corpora", data=b"\xff" * 60_000, content_type="text/plain"), 422)


def test_a_budget_is_never_exceeded() -> None:
    budget, held, most = ByteBudget(100), [], []

    def use(size: int) -> int:
        refused = 0
        for _ in range(300):
            with budget.hold(size) as fits:
                refused += not fits
                if fits:
                    held.append(size)
                    most.append(sum(held))
                    held.remove(size)
        return refused

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, [30, 40, 50, 60] * 2))
    assert max(most) <= 100
    with budget.hold(1000) as fits:
        assert fits


@pytest.mark.parametrize("settings", [{"generate_memory_bytes": 2000}], indirect=True)
def test_a_network_that_no_worker_can_load_is_refused(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)
    for path, body in (("/v1/generate", {}), ("/v1/score", {"text": "It was"})):
        told = problem(ann.post(path, {"model": model["id"], **body}), 422)
        assert told["type"] == "/problems/does-not-fit"
        assert told["errors"][0]["field"] == "model"
        assert "QUIRE_GENERATE_MEMORY_BYTES" in told["detail"]


def test_a_network_that_does_not_fit_any_more_is_not_run_again(
    harness: ApiHarness, ann: Person
) -> None:
    services = harness.app.extensions["quire"]
    model = harness.model(ann)
    body = {"model": model["id"], "prompt": "It "}
    job = ann.post("/v1/generate", body).json
    waiting = ann.train(ann.upload())
    later = {"model": waiting["model"], "prompt": "It ", "after": waiting["id"]}
    assert ann.post("/v1/generate", later).status_code == 202
    small = services.settings.model_copy(update={"generate_memory_bytes": 2000})
    harness.app.extensions["quire"] = replace(services, settings=small)
    for path, again in ((f"/v1/jobs/{job['id']}/rerun", None), ("/v1/generate", later)):
        told = problem(ann.post(path, again), 422)
        assert told["type"] == "/problems/does-not-fit"
        assert told["errors"][0]["field"] == "model"
