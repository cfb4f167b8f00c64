"""The probe, on the CPU: what it computes, and how it says what is wrong."""

import ctypes.util
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.unit.ml.conftest import small_config
from worker.ml import checkpoint, gpu_facts, probe
from worker.ml.probe import DeviceBroken, compare, find_one_gpu, libraries_in, reason_in
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize


def test_the_cpu_passes() -> None:
    probe.probe("cpu")


CHECKS = ("_product", "_training_step", "_block", "_random_numbers")


def only(monkeypatch: pytest.MonkeyPatch, check: str, replacement: Any) -> None:
    """Replace one check, and leave out the others, each of which compiles for seconds."""
    for name in CHECKS:
        monkeypatch.setattr(probe, name, lambda device: ([], []))
    monkeypatch.setattr(probe, check, replacement)


@pytest.mark.parametrize("check", CHECKS)
def test_wrong_values_are_found(monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    right = getattr(probe, check)

    def wrong(device: str) -> Any:
        found, expected = right(device)
        return [*found[:-1], found[-1] * 1.05], expected

    only(monkeypatch, check, wrong)
    with pytest.raises(DeviceBroken, match=r"wrongly: 0\.05 from the CPU's values"):
        probe.probe("cpu")


@pytest.mark.parametrize("check", CHECKS)
def test_an_error_is_told_with_what_failed(monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    def fail(device: str) -> Any:
        raise tf.errors.UnknownError(None, None, "CUDNN_STATUS_NOT_INITIALIZED")

    only(monkeypatch, check, fail)
    with pytest.raises(DeviceBroken, match="failed on it: UnknownError: CUDNN_STATUS_NOT_INIT"):
        probe.probe("cpu")


def test_values_that_are_not_finite_are_wrong() -> None:
    with pytest.raises(DeviceBroken, match="wrongly"):
        compare("it", [np.array([np.nan, 1.0])], [np.array([1.0, 1.0])])


def test_the_rounding_of_tf32_is_allowed_and_six_bits_less_are_not() -> None:
    """TF32 keeps 10 bits of each operand's fraction."""
    random = np.random.default_rng(0)
    left, right = random.normal(size=(2, 256, 256)).astype(np.float32)

    def rounded(array: Any, bits: int) -> Any:
        kept = np.uint32(1 << (23 - bits))
        return ((array.view(np.uint32) + kept // 2) & ~(kept - 1)).view(np.float32)

    exact = left @ right
    error = np.abs(rounded(left, 10) @ rounded(right, 10) - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < probe.TOLERANCE / 10
    compare("a product", [rounded(left, 10) @ rounded(right, 10)], [exact])
    with pytest.raises(DeviceBroken):
        compare("a product", [rounded(left, 4) @ rounded(right, 4)], [exact])


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "2026-01-01 10:00:00.1: W tensorflow/core/gpu_device.cc:2343] Cannot dlopen some GPU "
            "libraries.\nSkipping registering GPU devices...",
            "Cannot dlopen some GPU libraries.",
        ),
        ("E0000 00:00:17.1 18 cuda_platform.cc:52] failed call: X", "failed call: X"),
        ("I0000 00:00:1 18 a.cc:1] fine\nE0000 00:00:1 18 b.cc:2] bad", "bad"),
        ("I0000 00:00:1 18 a.cc:1] Could not find cuda drivers", "Could not find cuda drivers"),
        ("E0 1 b.cc:2] bad\nE0 1 b.cc:2] bad", "bad"),
        ("", "it gives no reason"),
        ("no form at all", "no form at all"),
    ],
)
def test_tensorflows_reason_is_read_from_its_log(log: str, reason: str) -> None:
    assert reason_in(log) == reason


def test_without_a_gpu_tensorflows_reason_is_told() -> None:
    program = "from worker.ml.probe import find_one_gpu; find_one_gpu()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "GPU-none", "TF_CPP_MIN_LOG_LEVEL": "1"},
        capture_output=True,
        text=True,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "DeviceBroken: TensorFlow finds no GPU: " in last
    assert "cuInit" in last
    if ctypes.util.find_library("cuda") is None:
        assert "libcuda.so.1: cannot open shared object file" in last
    # What was kept is passed on to the log all the same.
    assert done.stderr.count("cuInit") >= 2


def test_the_linkers_words_about_each_library_are_told_once() -> None:
    line = (
        "I0000 00:00:1795892272.679888    2026 dso_loader.cc:144] Could not load dynamic library "
        "'libcusolver.so.11'; dlerror: libcusolver.so.11: cannot open shared object file: No such "
        "file or directory; LD_LIBRARY_PATH: /usr/local/cuda/lib64\n"
    )
    opened = line.replace("Could not load dynamic library", "Successfully opened dynamic library")
    expected = "libcusolver.so.11: cannot open shared object file: No such file or directory"
    assert libraries_in(line + opened + line) == [expected]
    assert libraries_in(opened) == []


def test_two_gpus_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one", "two"])
    with pytest.raises(DeviceBroken, match="sees 2 GPUs in place of one"):
        find_one_gpu()


@pytest.mark.parametrize(
    ("capability", "compiled"),
    # TensorFlow's wheel says "sm_80", "compute_90" and nothing of 12.0.
    [((8, 0), True), ((9, 0), True), ((12, 0), False)],
)
def test_a_gpu_without_programs_is_known(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], compiled: bool
) -> None:
    details = {"device_name": "H100", "compute_capability": capability}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    found = find_one_gpu()
    assert (found.name, found.compiled) == ("H100", compiled)


def test_a_graph_that_does_not_call_cudnn_is_seen() -> None:
    function = tf.function(lambda x: x + 1)
    assert not probe.calls_cudnn(function, tf.constant(1.0))


def test_fingerprints_tell_gpus_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = []
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["one"])
    monkeypatch.setattr(gpu_facts, "_driver", lambda: "555.42")
    for name, capability in (("A100", (8, 0)), ("H100", (9, 0))):
        details = {"device_name": name, "compute_capability": capability}
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu, d=details: d)
        checkpoint.fingerprint.cache_clear()
        prints.append(checkpoint.fingerprint(2, 1, "gpu"))
    checkpoint.fingerprint.cache_clear()
    first, second = prints
    assert (first["gpu"], first["gpu_capability"], first["driver"]) == ("A100", "8.0", "555.42")
    assert first["cuda"]
    assert first["cudnn"]
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"gpu", "gpu_capability"}
    assert "gpu" not in checkpoint.fingerprint(2, 1, "cpu")


@pytest.mark.parametrize(("devices", "exact"), [([], True), (["one"], False)])
def test_on_a_gpu_nothing_is_exact(
    monkeypatch: pytest.MonkeyPatch, devices: list[str], exact: bool
) -> None:
    details = {"device_name": "H100", "compute_capability": (9, 0)}
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: devices)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    checkpoint.fingerprint.cache_clear()
    vocabulary, ids = vectorize("the quick brown fox jumps over the lazy dog. " * 40)
    trainer = Trainer(small_config("default", len(vocabulary)), ids, vocabulary)
    state = trainer.state()
    checkpoint.fingerprint.cache_clear()
    assert trainer.exact is exact
    assert state.meta["exact"] is exact
    assert state.meta["fingerprint"].get("gpu") == (None if exact else "H100")
