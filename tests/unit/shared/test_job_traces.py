"""Traces cost nothing while nobody asks for them, and no server its life."""

import subprocess
import sys
import time

import pytest
from structlog.testing import capture_logs

from shared.ids import new_id
from shared.job_traces import job_traces
from shared.settings import Settings, SettingsError, load_settings

OFF = """
import sys
import api.app, worker.lane
from shared.job_traces import job_traces
from shared.settings import load_settings
assert job_traces(load_settings(), "quire-api") is None
# The Redis client looks by itself for the API of OpenTelemetry, where it is installed.
ours = ("opentelemetry.exporter", "opentelemetry.sdk.trace", "opentelemetry.proto")
assert not [name for name in sys.modules if name.startswith(ours)]
"""
WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry"] = None
from shared.job_traces import job_traces
from shared.settings import load_settings
assert job_traces(load_settings(traces_url="http://127.0.0.1:4318"), "quire-api") is None
"""
#: `JobTraces.close` promises two seconds.
CLOSE_SECONDS = 8


def python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_nothing_of_opentelemetry_is_imported_while_traces_are_off() -> None:
    python(OFF)


def test_without_the_extra_there_are_no_traces_and_a_warning() -> None:
    said = python(WITHOUT_THE_EXTRA)
    assert "traces_off" in said
    assert "quire[server,otel]" in said


def test_a_process_ends_soon_if_no_collector_answers() -> None:
    with capture_logs():
        traces = job_traces(Settings(traces_url="http://127.0.0.1:9"), "quire-worker")
        assert traces is not None
        now = time.monotonic()
        traces.record(new_id(), "fit", now, now, {})
        traces.close()
    assert time.monotonic() - now < CLOSE_SECONDS


def test_an_address_that_is_none_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="QUIRE_TRACES_URL"):
        load_settings(traces_url="collector:4318")
