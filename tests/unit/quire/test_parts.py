"""`quire worker` becomes the worker, told by its options what to be."""

import os
import sys

import pytest

from quire.main import run
from shared.settings import load_settings


def test_a_machine_is_called_as_its_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[str, ...]] = []
    monkeypatch.setattr(os, "execv", lambda _program, arguments: became.append(arguments))
    for name in ("QUIRE_HOST_NAME", "QUIRE_DEVICES"):
        monkeypatch.setenv(name, "")  # given back at the end
    assert run(["worker", "--devices", "cpu:0", "--host-name", "lab-2"]) == 0
    assert became == [(sys.executable, "-P", "-m", "worker")]
    settings = load_settings()
    assert (settings.host_name, settings.devices) == ("lab-2", "cpu:0")
