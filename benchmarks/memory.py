"""What a longer corpus costs a training: the peak of a real worker's memory, 10 MB beside 100 MB.

The corpus is uploaded over HTTP, and trained by a worker as `quire up` starts it, with a budget of
some seconds. There is no peer: 4 bytes a character are asked for.
"""

import random
import time
from pathlib import Path

from sqlalchemy import select

from benchmarks.harness import Options, Row, load_corpus, main, row
from benchmarks.stack import Stack, running, until
from shared.database import make_engine
from shared.tables import Device

SHORT, LONG, QUICK_LONG = 10_000_000, 100_000_000, 30_000_000
BYTES_PER_CHARACTER = 4.0
BUDGET = {"seconds": 10}
TRAIN_SECONDS = 300.0


def measure(options: Options) -> list[Row]:
    """One row: the difference of the peaks over that of the lengths."""
    long = QUICK_LONG if options.quick else LONG
    before, short_peak, _ = trained(SHORT)
    _, long_peak, seconds = trained(long)
    figure = (long_peak - short_peak) / (long - SHORT)
    conditions = (
        f"corpora of {SHORT:,} and {long:,} characters, preset default for {BUDGET['seconds']} s; "
        f"the child of the train lane has {before / 2**20:.0f} MiB when it is idle, and "
        f"{short_peak / 2**20:.0f} and {long_peak / 2**20:.0f} MiB at its peaks (VmHWM); from "
        f"submit to end {seconds:.0f} s; in place of a peer, {BYTES_PER_CHARACTER:g} bytes are "
        "asked for"
    )
    return [
        row(
            "train/memory_per_character",
            [figure],
            [BYTES_PER_CHARACTER],
            "bytes",
            1,
            conditions,
        )
    ]


def trained(characters: int) -> tuple[int, int, float]:
    """Bytes of an idle worker, its peak in a training, and the seconds from submit to end."""
    with running() as quire:
        idle = peak(quire)
        corpus = quire.client.call(
            "POST", "/v1/corpora", {"name": "long", "text": text_of(characters)}
        )
        started = time.monotonic()
        body = {"corpus": corpus["id"], "preset": "default", "budget": BUDGET}
        job = quire.client.call("POST", "/v1/train", body)

        def ended() -> bool:
            found = quire.client.call("GET", f"/v1/jobs/{job['id']}")
            if found["status"] in ("failed", "cancelled"):
                raise RuntimeError(f"the training {found['status']}: {found['error']}")
            return bool(found["status"] == "succeeded")

        until(ended, "the training", TRAIN_SECONDS, pause=0.5)
        return idle, peak(quire), time.monotonic() - started


def peak(quire: Stack) -> int:
    """The most bytes that the child of the train lane has had in memory."""
    engine = make_engine(quire.database_url)
    with engine.connect() as connection:
        pid = connection.scalars(select(Device.pid).where(Device.lane == "train")).one()
    engine.dispose()
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


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
