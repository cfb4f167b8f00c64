"""The memory of a training on a long corpus: peaks of a real worker with 10 and 100 MB.

The corpus is uploaded over HTTP and trained with a budget of some seconds by a worker as `quire up`
starts it. There is no peer: the limit is 4 bytes per character.

A second row compares the memory estimate in the 202 response with the measured peak, for several
kinds of trainings: the estimate should exceed the peak slightly.
"""

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks.support.harness import Options, Row, load_corpus, main, row
from benchmarks.support.stack import Stack, running, until
from shared.database import make_engine
from shared.tables import Device

SHORT, LONG, QUICK_LONG = 10_000_000, 100_000_000, 30_000_000
BYTES_PER_CHARACTER = 4.0
BUDGET = {"seconds": 10}
#: The trainings whose peaks are compared with estimates: common, wide with large batches, deep, a
#: large alphabet, and words.
ESTIMATED: dict[str, tuple[str, dict[str, Any]]] = {
    "preset default": ("nietzsche", {}),
    "512 units, batches of 128 windows of 128": (
        "nietzsche",
        {"units": 512, "batch_size": 128, "window": 128},
    ),
    "3 layers of 256, dropout": ("nietzsche", {"layers": 3, "units": 256, "dropout": 0.2}),
    "4,447 different characters": ("hongloumeng", {}),
    "4,000 words, batches of 32 windows": ("nietzsche", {"tokenizer": "word", "batch_size": 32}),
}
TRAIN_SECONDS = 300.0


def measure(options: Options) -> list[Row]:
    """Measure the memory per character, and compare estimates with peaks."""
    return [_per_character(options), _estimates()]


def _per_character(options: Options) -> Row:
    long = QUICK_LONG if options.quick else LONG
    short_run, long_run = trained(text_of(SHORT)), trained(text_of(long))
    short_peak, long_peak = short_run.peak_bytes, long_run.peak_bytes
    figure = (long_peak - short_peak) / (long - SHORT)
    conditions = (
        f"corpora of {SHORT:,} and {long:,} characters, preset default for {BUDGET['seconds']} s; "
        f"the child of the train lane takes {_mib(short_run.idle_bytes)} when idle, and "
        f"{_mib(short_peak)} and {_mib(long_peak)} at its peaks (VmHWM); from submit to end "
        f"{long_run.seconds:.0f} s; instead of a peer, the limit is {BYTES_PER_CHARACTER:g} "
        "bytes"
    )
    return row(
        "train/memory_per_character", [figure], [BYTES_PER_CHARACTER], "bytes", 1, conditions
    )


def _estimates() -> Row:
    runs = {
        label: trained(load_corpus(name).text, **changes)
        for label, (name, changes) in ESTIMATED.items()
    }
    description = "; ".join(
        f"{label}: {_mib(run.peak_bytes)}, estimated {_mib(run.estimated_bytes)}"
        for label, run in runs.items()
    )
    tightest = min(runs.values(), key=lambda run: run.estimated_bytes / run.peak_bytes)
    conditions = (
        f"peaks of the train lane's child (VmHWM) in {BUDGET['seconds']} s; {description}; the "
        "figures are those of the tightest, with its estimate instead of a peer"
    )
    return row(
        "train/memory_estimate",
        [tightest.peak_bytes / 2**20],
        [tightest.estimated_bytes / 2**20],
        "MiB",
        1,
        conditions,
    )


@dataclass(frozen=True)
class Trained:
    """The measured and the estimated memory of a training, and its time."""

    idle_bytes: int
    peak_bytes: int
    seconds: float
    estimated_bytes: int


def trained(text: str, **changes: Any) -> Trained:
    """Train on a text with a new worker."""
    with running() as quire:
        idle = peak(quire)
        corpus = quire.client.call("POST", "/v1/corpora", {"name": "long", "text": text})
        started = time.monotonic()
        body = {"corpus": corpus["id"], "preset": "default", "budget": BUDGET, **changes}
        job = quire.client.call("POST", "/v1/train", body)

        def ended() -> bool:
            found = quire.client.call("GET", f"/v1/jobs/{job['id']}")
            if found["status"] in ("failed", "cancelled"):
                raise RuntimeError(f"the training {found['status']}: {found['error']}")
            return bool(found["status"] == "succeeded")

        until(ended, "the training", TRAIN_SECONDS, pause=0.5)
        seconds = time.monotonic() - started
        return Trained(idle, peak(quire), seconds, job["estimate"]["memory_bytes"])


def peak(quire: Stack) -> int:
    """Return the peak resident memory of the train lane's child, in bytes."""
    engine = make_engine(quire.database_url)
    with engine.connect() as connection:
        pid = connection.scalars(select(Device.pid).where(Device.lane == "train")).one()
    engine.dispose()
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def text_of(characters: int) -> str:
    """Compose a text of this length from randomly drawn paragraphs of a real one."""
    paragraphs = load_corpus("nietzsche").text.split("\n\n")
    draws, found, length = random.Random(1), [], 0
    while length < characters:
        found.append(draws.choice(paragraphs))
        length += len(found[-1]) + 2
    return "\n\n".join(found)[:characters]


if __name__ == "__main__":
    main("Training: memory of a long corpus", measure)
