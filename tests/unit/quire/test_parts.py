"""`quire worker` passes its options to the worker process."""

import os
import sys

import pytest

from quire.main import run
from shared.settings import load_settings


def test_worker_options_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(os, "execv", lambda _program, arguments: commands.append(arguments))
    for name in ("QUIRE_HOST_NAME", "QUIRE_DEVICES"):
        monkeypatch.setenv(name, "")  # restored at the end of the test
    assert run(["worker", "--devices", "cpu:0", "--host-name", "lab-2"]) == 0
    assert commands == [(sys.executable, "-P", "-m", "worker")]
    settings = load_settings()
    assert (settings.host_name, settings.devices) == ("lab-2", "cpu:0")
