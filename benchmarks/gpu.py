"""A GPU beside the CPU of the same machine: the figures of `quire gpu-check`, as rows.

Without a GPU there is nothing to measure, and the script says why.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.support.harness import Options, Row, main, row
from worker.gpu_check import check

#: Within this time a training that is stopped saves its checkpoint; see docs/gpu.md.
CHECKPOINT_SECONDS = 25.0
#: From this many streams on, a GPU should write faster than a CPU wherever it stands.
CROSSOVER_STREAMS = 512


def measure(options: Options) -> list[Row]:
    """Measure the first GPU that computes."""
    report = check(tiny=options.quick)
    rows = list(rows_of(report, quick=options.quick))
    return [each for each in rows if options.wants(each.name)]


def rows_of(report: Mapping[str, Any], *, quick: bool) -> Iterator[Row]:
    """The rows of a report of `worker.gpu_check`; says on standard output what is left out."""
    sound = [gpu for gpu in report["gpus"] if "steps" in gpu]
    if not sound:
        problems = [problem for gpu in report["gpus"] for problem in gpu["problems"]]
        _leave_out("…", report.get("problem") or "; ".join(problems))
        return
    gpu, cpu = sound[0], report["cpu"]
    if "steps" not in cpu:
        _leave_out("…", f"the CPU could not be measured: {cpu['problem']}")
        return
    about = f"{gpu['name']}, driver {report['driver']}"
    if quick:
        about += "; QUICK: tiny networks"
    peer = f"{about}; peer: the CPU of the same machine"
    for preset, step in gpu["steps"].items():
        theirs = cpu["steps"][preset]["ms"]
        text = f"a training step of preset {preset}; {peer}"
        yield row(f"gpu/step_{preset}", [step["ms"]], [theirs], "ms", 1, text)
    for streams, speed in gpu["sampling"].items():
        text = (
            f"{streams} texts of preset default at once, all on the GPU; a worker writes few on "
            f"the CPU, where that is faster; {peer}"
        )
        theirs = cpu["sampling"][streams]
        yield row(
            f"gpu/streams_{streams}", [speed], [theirs], "characters/s", 1, text,
            more_is_better=True,
        )  # fmt: skip
    if gpu["crossover_streams"] is None:
        _leave_out("crossover", "the GPU is nowhere faster than the CPU")
    else:
        text = (
            f"the fewest measured streams at which the GPU is faster; {about}; instead of a peer, "
            f"the limit is {CROSSOVER_STREAMS}"
        )
        found = [float(gpu["crossover_streams"])]
        yield row("gpu/crossover", found, [CROSSOVER_STREAMS], "streams", 1, text)
    if gpu["two_slots"] is None:
        _leave_out("two_slots", "two trainings at once did not end")
    else:
        text = f"two trainings beside each other, relative to one; {about}; peer: one"
        found = [gpu["two_slots"]]
        yield row("gpu/two_slots", found, [1.0], "× one", 1, text, more_is_better=True)
    text = (
        f"a checkpoint of preset large; {about}; instead of a peer, the limit is "
        f"{CHECKPOINT_SECONDS:g} s"
    )
    yield row("gpu/checkpoint", [gpu["checkpoint_seconds"]], [CHECKPOINT_SECONDS], "s", 1, text)


def _leave_out(rows: str, reason: str) -> None:
    sys.stdout.write(f"gpu/{rows} is not measured: {reason}\n")


if __name__ == "__main__":
    main("A GPU beside its CPU", measure)
