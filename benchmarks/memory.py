"""What a longer corpus costs a training: the peak of a real worker's memory, 10 MB beside 100 MB.

The corpus is uploaded over HTTP, and trained by a worker as `quire up` starts it, with a budget of
some seconds. There is no peer: 4 bytes a character are asked for.

A second row holds the memory that the 202 told beforehand against the peak that came of it, of
trainings of several kinds: the estimate should be the larger, and not by far.
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
#: Trainings whose peaks are held against their estimates: usual, wide and many at once, deep, one
#: of a large alphabet, and one of words.
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
    """The difference of the peaks over that of the lengths; and estimates beside peaks."""
    return [_per_character(options), _estimates()]


def _per_character(options: Options) -> Row:
    long = QUICK_LONG if options.quick else LONG
    short_run, long_run = trained(text_of(SHORT)), trained(text_of(long))
    short_peak, long_peak = short_run.peak_bytes, long_run.peak_bytes
    figure = (long_peak - short_peak) / (long - SHORT)
    conditions = (
        f"corpora of {SHORT:,} and {long:,} characters, preset default for {BUDGET['seconds']} s; "
        f"the child of the train lane has {_mib(short_run.idle_bytes)} when it is idle, and "
        f"{_mib(short_peak)} and {_mib(long_peak)} at its peaks (VmHWM); from submit to end "
        f"{long_run.seconds:.0f} s; in place of a peer, {BYTES_PER_CHARACTER:g} bytes are "
        "asked for"
    )
    return row(
        "train/memory_per_character", [figure], [BYTES_PER_CHARACTER], "bytes", 1, conditions
    )


def _estimates() -> Row:
    runs = {
        label: trained(load_corpus(name).text, **changes)
        for label, (name, changes) in ESTIMATED.items()
    }
    told = "; ".join(
        f"{label}: {_mib(run.peak_bytes)}, estimated {_mib(run.estimated_bytes)}"
        for label, run in runs.items()
    )
    tightest = min(runs.values(), key=lambda run: run.estimated_bytes / run.peak_bytes)
    conditions = (
        f"peaks of the train lane's child (VmHWM) in {BUDGET['seconds']} s; {told}; the figures "
        "are those of the tightest, in place of a peer its estimate"
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
    """What a training took, and what was told of it before."""

    idle_bytes: int
    peak_bytes: int
    seconds: float
    estimated_bytes: int


def trained(text: str, **changes: Any) -> Trained:
    """Train on a text with a worker of its own."""
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
    """The most bytes that the child of the train lane has had in memory."""
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
    """A text as long as that, of the paragraphs of a real one in an order that chance decides."""
    paragraphs = load_corpus("nietzsche").text.split("\n\n")
    draws, found, length = random.Random(1), [], 0
    while length < characters:
        found.append(draws.choice(paragraphs))
        length += len(found[-1]) + 2
    return "\n\n".join(found)[:characters]


if __name__ == "__main__":
    main("Training: memory of a long corpus", measure)
