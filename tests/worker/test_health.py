"""The container's health check: each lane has a live worker on this host."""

import os
import subprocess
import sys

import pytest

from shared import worker_registry
from shared.database import make_engine
from shared.settings import Settings
from shared.tables import Kind
from shared.worker_registry import WorkerInfo
from worker.health import silent_lanes


def show(url: str, host: str, lane: Kind) -> None:
    engine = make_engine(url)
    worker_registry.register(engine, WorkerInfo(host, "cpu", lane, os.getpid(), {}), ready=True)
    engine.dispose()


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings.model_validate({"database_url": database_url, "host_name": "here"})


def test_each_lane_needs_a_worker_on_this_host(database_url: str, settings: Settings) -> None:
    show(database_url, "elsewhere", "train")
    assert silent_lanes(settings) == {"train", "generate"}
    show(database_url, "here", "train")
    assert silent_lanes(settings) == {"generate"}
    show(database_url, "here", "generate")
    assert silent_lanes(settings) == frozenset()


def test_a_worker_without_a_heartbeat_within_a_lease_is_not_live(
    database_url: str, settings: Settings
) -> None:
    show(database_url, "here", "train")
    show(database_url, "here", "generate")
    impatient = settings.model_copy(update={"lease_seconds": 1e-6})
    assert silent_lanes(impatient) == {"train", "generate"}


def test_the_exit_code_and_message(settings_env: dict[str, str]) -> None:
    environment = {**settings_env, "QUIRE_HOST_NAME": "here", "QUIRE_LEASE_SECONDS": "60"}
    argv = [sys.executable, "-m", "worker.health"]
    unhealthy = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (unhealthy.returncode, unhealthy.stderr) == (
        1,
        "no live worker on this host for: generate, train\n",
    )
    show(settings_env["DATABASE_URL"], "here", "train")
    show(settings_env["DATABASE_URL"], "here", "generate")
    healthy = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (healthy.returncode, healthy.stderr) == (0, "")
