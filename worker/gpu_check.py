"""`quire gpu-check`: finds this machine's GPUs, probes and measures them, and names problems."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pynvml

from shared.process.python_module import python_module
from worker.devices import NO_GPU, BadDevice, LocalDevice, find_devices
from worker.gpu.inventory import Gpu, find_gpus, mps_runs, nvml
from worker.gpu.visible import VARIABLE
from worker.lane import auto_slots

EXIT_PROBLEM, EXIT_NO_GPU = 1, 3
#: A GPU whose memory others use to more than this share has too little for Quire.
USED_SHARE = 0.1
#: A measurement compiles first, on a new GPU for minutes.
MEASURE_SECONDS = 1800.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the GPUs.

    Returns:
        The process's exit code: 0 if all is well, 1 if something is wrong, 3 without a GPU.
    """
    parser = argparse.ArgumentParser(prog="quire gpu-check", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    report = check(tiny=given.tiny)
    if "problem" in report:
        _print(report, as_json=given.json, lines=no_gpu_lines(report["problem"]))
        return EXIT_NO_GPU
    _print(report, as_json=given.json, lines=lines_of(report))
    return EXIT_PROBLEM if any(gpu["problems"] for gpu in report["gpus"]) else 0


def check(*, tiny: bool = False) -> dict[str, Any]:
    """Find, probe and measure the GPUs and the CPU.

    Args:
        tiny: With tiny networks, whose figures say nothing.

    Returns:
        ``driver``, ``mps``, and of ``cpu`` and each of ``gpus`` what `worker.gpu_measure` found.
        Without a GPU there is a ``problem`` in place of figures.
    """
    found = find_gpus()
    report: dict[str, Any] = {"driver": found.driver, "mps": mps_runs(), "gpus": []}
    try:
        devices = find_devices("gpu")
    except BadDevice as error:
        return report | {"problem": found.problem or str(error)}
    cpu = _measure(NO_GPU, "cpu", tiny=tiny)
    gpus = [_check(device, cpu, tiny=tiny) for device in devices]
    return report | {"cpu": cpu, "gpus": gpus}


def no_gpu_lines(problem: str) -> list[str]:
    """What is said on a machine without a GPU."""
    return [
        f"No GPU can be used: {problem}.",
        "Quire trains on the CPU here. docs/gpu.md in its checkout says what a GPU needs.",
    ]


def find_problems(
    gpu: Mapping[str, Any], cpu: Mapping[str, Any], used_share: float, two_slots: float | None
) -> list[str]:
    """What is wrong with a measured GPU, in one line each.

    Args:
        gpu: What `worker.gpu_measure` printed for it.
        cpu: The same for the CPU of the same machine.
        used_share: The share of its memory that other processes use.
        two_slots: The speed of two trainings beside each other, relative to one alone.
    """
    problems = []
    if used_share > USED_SHARE:
        problems.append(
            f"other processes use {used_share:.0%} of its memory: stop them, or leave it out "
            "(QUIRE_DEVICES)"
        )
    if "problem" in gpu:
        return [*problems, gpu["problem"]]
    for preset, step in gpu["steps"].items():
        here = cpu.get("steps", {}).get(preset)
        if here is not None and step["ms"] > here["ms"]:
            problems.append(
                f"a step of {preset} takes {step['ms']:.2f} ms, on the CPU {here['ms']:.2f} ms"
            )
    if two_slots is not None and two_slots < 1:
        problems.append(f"two trainings together reach {two_slots:.2f} of the speed of one")
    return problems


def crossover(gpu: Mapping[str, Any], cpu: Mapping[str, Any]) -> int | None:
    """The fewest measured streams at which the GPU writes faster than the CPU; None: never."""
    for streams, speed in gpu.get("sampling", {}).items():
        if speed > cpu.get("sampling", {}).get(streams, 0.0):
            return int(streams)
    return None


def _check(device: LocalDevice, cpu: Mapping[str, Any], *, tiny: bool) -> dict[str, Any]:
    gpu = device.gpu
    assert gpu is not None  # noqa: S101  # `find_devices("gpu")` names GPUs only
    facts: dict[str, Any] = {
        "device": device.name,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "capability": gpu.capability,
        "memory_bytes": gpu.memory_bytes,
        "auto_slots": auto_slots(gpu.memory_bytes),
    }
    if gpu.problem is not None:
        return facts | {"problems": [gpu.problem]}
    limits = _limits(gpu)
    measured = _measure(gpu.uuid, "gpu", tiny=tiny)
    two = None if "problem" in measured else _two_slots(gpu.uuid, measured, tiny=tiny)
    return facts | {
        **measured,
        "limits": limits,
        "two_slots": two,
        "crossover_streams": crossover(measured, cpu),
        "problems": find_problems(measured, cpu, limits.pop("used_share"), two),
    }


def _limits(gpu: Gpu) -> dict[str, float]:
    """What the card can do at most, derived from its clocks; 0 where NVML does not tell."""
    found = {"used_share": 0.0, "multiply_adds_per_second": 0.0, "bytes_per_second": 0.0}
    try:
        with nvml():
            handle = pynvml.nvmlDeviceGetHandleByIndex(gpu.index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            found["used_share"] = memory.used / max(1, memory.total)
            clock = pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM) * 1e6
            # One multiply-add of float32 for each core and cycle.
            found["multiply_adds_per_second"] = clock * pynvml.nvmlDeviceGetNumGpuCores(handle)
            clock = pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_MEM) * 1e6
            width = pynvml.nvmlDeviceGetMemoryBusWidth(handle)
            found["bytes_per_second"] = 2 * clock * width / 8
    except pynvml.NVMLError:
        return found
    return found


def _two_slots(uuid: str, alone: Mapping[str, Any], *, tiny: bool) -> float | None:
    both = [_start(uuid, "gpu", "--steps-only", tiny=tiny) for _ in range(2)]
    steps = [_read(process).get("steps") for process in both]
    if any(step is None for step in steps):
        return None
    speeds = [step["default"]["characters_per_second"] for step in steps if step is not None]
    return float(sum(speeds) / alone["steps"]["default"]["characters_per_second"])


def _measure(visible: str, processor: str, *, tiny: bool) -> dict[str, Any]:
    return _read(_start(visible, processor, tiny=tiny))


def _start(visible: str, processor: str, *options: str, tiny: bool) -> "subprocess.Popen[str]":
    arguments = [processor, *options, *(["--tiny"] if tiny else [])]
    return subprocess.Popen(
        python_module("worker.gpu_measure", *arguments),
        env={**os.environ, VARIABLE: visible, "TF_CPP_MIN_LOG_LEVEL": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _read(process: "subprocess.Popen[str]") -> dict[str, Any]:
    try:
        output, errors = process.communicate(timeout=MEASURE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"problem": f"the measurement took longer than {MEASURE_SECONDS:g} s"}
    if process.returncode:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        return {"problem": f"the measurement ended with exit code {process.returncode}: {last}"}
    return dict(json.loads(output.splitlines()[-1]))


def lines_of(report: Mapping[str, Any]) -> list[str]:
    """The report as people read it."""
    cpu = report["cpu"]
    mps = "does not run: the processes of a card take turns"
    if report["mps"]:
        mps = "runs: the processes of a card compute at once, and one's fault can end the others"
    lines = [f"driver {report['driver']}, MPS {mps}"]
    for gpu in report["gpus"]:
        lines.append(f"{gpu['device']}  {gpu['name']}  {gpu['uuid']}")
        for preset, step in gpu.get("steps", {}).items():
            lines.append(
                f"  step of {preset:<8} {step['ms']:9.3f} ms   CPU "
                f"{cpu.get('steps', {}).get(preset, {}).get('ms', 0):9.3f} ms   limit "
                f"{_limit_ms(step, gpu['limits']):9.3f} ms"
            )
        for streams, speed in gpu.get("sampling", {}).items():
            of_cpu = cpu.get("sampling", {}).get(streams, 0)
            lines.append(
                f"  {streams:>5} streams     {speed:12,.0f} characters/s   CPU {of_cpu:12,.0f}"
            )
        if "sampling" in gpu:
            at = gpu["crossover_streams"]
            where = "nowhere measured" if at is None else f"at {at} streams"
            lines.append(f"  writes faster than the CPU: {where}")
            lines.append(f"  checkpoint of large: {gpu['checkpoint_seconds']:.2f} s")
        if gpu.get("two_slots") is not None:
            lines.append(
                f"  two trainings together: {gpu['two_slots']:.2f} × one (QUIRE_TRAIN_SLOTS=auto: "
                f"{gpu['auto_slots']})"
            )
        lines += [f"  PROBLEM: {problem}" for problem in gpu["problems"]] or ["  all is well"]
    return lines


def _limit_ms(step: Mapping[str, float], limits: Mapping[str, float]) -> float:
    rate = limits["multiply_adds_per_second"]
    return 1000 * step["multiply_adds"] / rate if rate else 0.0


def _print(report: Mapping[str, Any], *, as_json: bool, lines: Sequence[str]) -> None:
    print(json.dumps(report, indent=2) if as_json else "\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
