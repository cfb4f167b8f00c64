"""``GET /metrics``: what it tells, who may read it, and that its counters only rise."""

import json
import re
import shutil
import subprocess
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import delete, update

from api.app import create_app
from api.operations.figures.scrape import expose
from api.operations.figures.scrape_server import serving_metrics
from api.services import EXTENSION
from shared.broker import Broker
from shared.clock import database_now
from shared.database import make_engine
from shared.queue import Queue
from shared.queue.types import Generated, problem
from shared.settings import Settings
from shared.tables import Device, Job
from shared.upsert import insert_or_replace
from shared.worker_registry import WorkerInfo, row_values
from tests.api.harness import ApiHarness, Person, record
from tests.api.harness import problem as problem_of
from tests.conftest import without
from tests.e2e.home import free_port
from tests.services.statements import noted_statements
from worker.execution.completion import RunFinisher
from worker.execution.lease import Lease
from worker.execution.outcome import RunOutcome

ROOT = Path(__file__).parents[2]
#: The names of the issue, with the labels of each.
NAMES = {
    "quire_jobs": {"kind", "state"},
    "quire_job_wait_seconds": {"kind"},
    "quire_job_run_seconds": {"kind"},
    "quire_queue_oldest_seconds": {"kind"},
    "quire_jobs_rescued": set(),
    "quire_jobs_ended": {"kind", "state", "reason"},
    "quire_lease_lost": set(),
    "quire_device_busy": {"host", "device", "lane"},
    "quire_device_broken": {"host", "device"},
    "quire_tokens": {"kind"},
    "quire_time_to_first_character_seconds": set(),
    "quire_streams": set(),
    "quire_stored_bytes": {"what"},
    "quire_disk_free_bytes": set(),
    "http_server_request_duration_seconds": {"method", "route", "status"},
}


def scrape(person: Person) -> str:
    response = person.get("/metrics")
    assert response.status_code == 200, response.text
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return response.text


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, tuple(sorted(labels.items()))]


@pytest.fixture
def worked(harness: ApiHarness, ann: Person) -> None:
    """One end of every kind, a worker, and a job that waits."""
    model = harness.model(ann)
    written = ann.post("/v1/generate", {"model": model["id"], "length": 10}).json
    claim = harness.claim(written["id"], "generate")
    harness.queue.finish(
        [(claim, [record(0, "a text", None)])],
        seconds={claim.job_id: 0.1},
        generated={claim.job_id: Generated(10, 0.02)},
    )
    corpus = ann.upload("another text " * 300, "other")
    failed = ann.train(corpus, name="fails")
    after = ann.train(corpus, name="after", after=failed["id"])
    harness.queue.fail(harness.claim(failed["id"]), problem("diverged", "It diverged", "Really."))
    cancelled = ann.train(corpus, name="cancelled")
    ann.post(f"/v1/jobs/{cancelled['id']}/cancel")
    ann.train(corpus, name="waits")
    assert ann.get(f"/v1/jobs/{after['id']}").json["status"] == "failed"
    with harness.engine.begin() as connection:
        worker = WorkerInfo("here", "cpu", "train", 1, {})
        insert_or_replace(
            connection, Device, row_values(worker, database_now(connection), ready=True)
        )


@pytest.mark.usefixtures("worked")
def test_it_gives_every_name_with_its_labels(harness: ApiHarness, admin: Person) -> None:
    text = scrape(admin)
    given = {family.name: family for family in text_string_to_metric_families(text)}
    for name, labels in NAMES.items():
        if name == "quire_disk_free_bytes" and harness.engine.dialect.name == "postgresql":
            continue
        assert name in given, name
        shown = {label for sample in given[name].samples for label in sample.labels}
        assert shown - {"le"} == labels, name
    assert "ann" not in re.sub(r"# .*", "", text)


@pytest.mark.usefixtures("worked")
def test_it_counts_what_happened(harness: ApiHarness, ann: Person, admin: Person) -> None:
    text = scrape(admin)

    def ended(kind: str, state: str, reason: str = "") -> float:
        return value(text, "quire_jobs_ended_total", kind=kind, state=state, reason=reason)

    assert ended("train", "succeeded") == 1
    assert ended("generate", "succeeded") == 1
    assert ended("train", "failed", "diverged") == 1
    assert ended("train", "failed", "after-failed") == 1
    assert ended("train", "cancelled") == 1
    assert value(text, "quire_jobs", kind="train", state="failed") == 2
    assert value(text, "quire_jobs", kind="train", state="queued") == 1
    assert value(text, "quire_queue_oldest_seconds", kind="train") > 0
    assert value(text, "quire_tokens_total", kind="generate") == 10
    assert value(text, "quire_time_to_first_character_seconds_count") == 1
    assert value(text, "quire_job_run_seconds_count", kind="train") == 2
    assert value(text, "quire_job_wait_seconds_count", kind="train") == 2
    assert value(text, "quire_device_busy", host="here", device="cpu", lane="train") == 0
    assert value(text, "quire_device_broken", host="here", device="cpu") == 0
    assert value(text, "quire_streams") == 0
    assert value(text, "quire_stored_bytes", what="corpora") > 1000
    assert value(text, "quire_stored_bytes", what="database") > 1000
    submitted = {"method": "POST", "route": "/v1/train", "status": "202"}
    name = "http_server_request_duration_seconds"
    assert value(text, f"{name}_count", **submitted) == 5
    buckets = [
        found for (each, labels), found in samples(text).items()
        if each == f"{name}_bucket" and set(submitted.items()) <= set(labels)
    ]  # fmt: skip
    assert buckets == sorted(buckets)
    assert buckets[-1] == 5


def test_a_rescue_and_a_lost_lease_are_counted(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    before = scrape(admin)
    assert value(before, "quire_jobs_rescued_total") == 0
    assert value(before, "quire_lease_lost_total") == 0
    job = ann.train(ann.upload())
    claim = harness.claim(job["id"])
    with harness.engine.begin() as connection:
        past = database_now(connection) - timedelta(seconds=1)
        connection.execute(update(Job).values(lease_expires_at=past))
    assert len(harness.queue.rescue()) == 1
    lease = Lease(claim, 60, time.monotonic(), threading.Event())
    RunFinisher(harness.queue).finish(lease, RunOutcome("succeeded"))
    RunFinisher(harness.queue).finish_together([(lease, RunOutcome("succeeded"))])
    after = scrape(admin)
    assert value(after, "quire_jobs_rescued_total") == 1
    assert value(after, "quire_lease_lost_total") == 2


@pytest.mark.usefixtures("worked")
def test_counters_never_fall_when_rows_go_or_a_process_starts_anew(
    harness: ApiHarness, settings: Settings, admin: Person
) -> None:
    def rising(text: str) -> dict[Any, float]:
        return {
            key: found
            for key, found in samples(text).items()
            if key[0].endswith(("_total", "_count", "_sum", "_bucket"))
        }

    before = rising(scrape(admin))
    with harness.engine.begin() as connection:
        connection.execute(delete(Job).where(Job.status.in_(("failed", "cancelled"))))
    harness.app.extensions[EXTENSION].http_figures.close()
    engine = make_engine(settings.database)
    again = create_app(settings, engine, Broker(settings.broker))
    try:
        other = Person(again.test_client(), "root", admin.key)
        after = rising(scrape(other))
    finally:
        again.extensions[EXTENSION].close()
    assert before.keys() <= after.keys()
    assert all(after[key] >= found for key, found in before.items())


def test_the_figures_of_two_processes_are_one(
    harness: ApiHarness, settings: Settings, ann: Person, admin: Person
) -> None:
    engine = make_engine(settings.database)
    second = create_app(settings, engine, Broker(settings.broker))
    try:
        there = Person(second.test_client(), "ann", ann.key)
        for person in (ann, there, there):
            assert person.get("/v1/models").status_code == 200
        second.extensions[EXTENSION].http_figures.write()
        name = "http_server_request_duration_seconds_count"
        labels = {"method": "GET", "route": "/v1/models", "status": "200"}
        assert value(scrape(admin), name, **labels) == 3
        # A path and a method that a client makes up become no labels.
        ann.get("/v1/secret-model-name")
        ann.send("BREW", "/v1/models")
        text = scrape(admin)
        assert "secret-model-name" not in text
        assert "BREW" not in text
    finally:
        second.extensions[EXTENSION].close()


def test_it_needs_a_key_with_its_scope(harness: ApiHarness, ann: Person, admin: Person) -> None:
    problem_of(ann.get("/metrics"), 403)
    anybody = harness.app.test_client()
    assert anybody.get("/metrics").status_code == 401
    made = admin.post("/v1/users/root/keys", {"name": "prometheus", "scopes": ["metrics"]}).json
    only = Person(anybody, "root", made["key"])
    scrape(only)
    problem_of(only.get("/v1/jobs"), 403)
    refused = admin.post("/v1/users/ann/keys", {"name": "x", "scopes": ["metrics"]})
    assert "scopes" in problem_of(refused, 422)["detail"]


def test_a_setting_opens_it(settings: Settings) -> None:
    engine = make_engine(settings.database)
    opened = settings.model_copy(update={"metrics_open": True, "metrics_users": True})
    app = create_app(opened, engine, Broker(settings.broker))
    try:
        assert app.test_client().get("/metrics").status_code == 200
        assert app.test_client().get("/v1/jobs").status_code == 401
        world = ApiHarness(app, engine, Queue(engine, opened))
        ann = world.person("ann")
        ann.train(ann.upload())
        text = app.test_client().get("/metrics").text
        assert value(text, "quire_user_jobs", user="ann", kind="train", state="queued") == 1
    finally:
        app.extensions[EXTENSION].close()


def test_a_port_of_its_own(harness: ApiHarness, settings: Settings) -> None:
    port = free_port()
    with (
        serving_metrics("127.0.0.1", port, lambda: expose(harness.engine, settings, 0)),
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        answer = client.get("/metrics")
        assert value(answer.text, "quire_jobs", kind="train", state="queued") == 0
        assert client.get("/v1/jobs").status_code == 404
        assert client.post("/metrics").status_code == 501


def test_a_scrape_has_a_bounded_number_of_queries(harness: ApiHarness, settings: Settings) -> None:
    with noted_statements(harness.engine) as statements:
        expose(harness.engine, settings, 0)
    selects = [each for each in statements if each.startswith("SELECT")]
    assert len(selects) <= 14
    if harness.engine.dialect.name == "sqlite":
        # Each look at the jobs is one at a partial index, whose rows are those that it counts.
        with harness.engine.connect() as connection:
            for statement in selects:
                if "FROM jobs" in statement:
                    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all()
                    assert "USING" in plan[0][3], (statement, plan)
                    assert "INDEX ix_jobs_" in plan[0][3], (statement, plan)


@pytest.fixture
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        without("promtool is missing; Debian: apt install prometheus")
    return path


@pytest.mark.usefixtures("worked")
def test_prometheus_itself_accepts_the_text(promtool: str, admin: Person) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=scrape(admin),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_prometheus_itself_accepts_the_alerts(promtool: str) -> None:
    rules = ROOT / "deploy" / "prometheus" / "alerts.yml"
    done = subprocess.run(
        [promtool, "check", "rules", rules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    tests = ROOT / "deploy" / "prometheus" / "alerts_test.yml"
    done = subprocess.run(
        [promtool, "test", "rules", tests], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> list[str]:
    """Every expression of the alerts and of the dashboard."""
    alerts = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    found = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "quire.json").read_text())
    targets = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    assert len(found) >= 6
    assert len(targets) >= 12
    return [*found, *targets]


@pytest.mark.usefixtures("worked")
def test_alerts_and_dashboard_use_only_names_that_it_gives(
    harness: ApiHarness, admin: Person
) -> None:
    if harness.engine.dialect.name == "postgresql":
        return
    given = {name for name, _ in samples(scrape(admin))}
    used = {
        name
        for expression in expressions()
        for name in re.findall(r"\b(?:quire|http_server)_[a-z_]+", expression)
    }
    assert used <= given, used - given
