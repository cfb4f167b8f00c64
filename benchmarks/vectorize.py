"""Vectorising a text: Quire's ids and starts against the script's one-hot loops."""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.harness import (
    Corpus,
    Options,
    Row,
    interleave,
    load_corpus,
    main,
    row,
    timed,
)
from shared.specs.presets import resolve_train
from worker.ml.config import TrainConfig
from worker.ml.holdout import Holdout
from worker.ml.vectorize import epoch_starts, vectorize

WINDOW, STRIDE = 60, 3
TARGET_RATIO = 300
TARGET_BYTES = 4_000_000
#: Calls per round of Quire's function: a single one is too short to time.
REPEATS = 20


def ours(text: str) -> Any:
    """Compute vocabulary, ids, the held-out tail and the first epoch's shuffled window starts."""
    vocabulary, ids = vectorize(text)
    spec = resolve_train("classic", {}, seed=0, threads=1, shards=1)
    config = TrainConfig.from_spec(spec.model_dump(), len(vocabulary))
    holdout = Holdout.draw(config, len(ids))
    return vocabulary, ids, holdout, epoch_starts(config, holdout.parts, epoch=0)


def script(text: str) -> Any:
    """Run the classic script's own lines: sentences, then two bool arrays in nested loops."""
    chars = sorted(set(text))
    char_indices = {c: i for i, c in enumerate(chars)}
    sentences, next_chars = [], []
    for i in range(0, len(text) - WINDOW, STRIDE):
        sentences.append(text[i : i + WINDOW])
        next_chars.append(text[i + WINDOW])
    x = np.zeros((len(sentences), WINDOW, len(chars)), dtype=bool)
    y = np.zeros((len(sentences), len(chars)), dtype=bool)
    for i, sentence in enumerate(sentences):
        for t, char in enumerate(sentence):
            x[i, t, char_indices[char]] = 1
        y[i, char_indices[next_chars[i]]] = 1
    return x, y


def same_windows(text: str) -> bool:
    """Whether a sample of the script's rows matches Quire's windows."""
    vocabulary, ids, _, starts = ours(text)
    x, y = script(text)
    known = set(starts.ravel().tolist())
    for number in range(0, len(x) * 9 // 10, len(x) // 200):
        start = number * STRIDE
        window = ids[start : start + WINDOW + 1]
        guessed = [*x[number].argmax(1), y[number].argmax()]
        if start not in known or guessed != window.tolist():
            return False
    return bool(len(vocabulary) == x.shape[2])


def peak_bytes(function: Callable[[str], Any], text: str) -> float:
    """Measure the peak memory of Python and NumPy, without the text."""
    tracemalloc.start()
    kept = function(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return float(peak)


def resident_bytes(name: str) -> float:
    """Measure the growth of a fresh process: its peak resident set with and without the work."""
    with_work, without = (_resident(name, work) for work in (True, False))
    return float(max(with_work - without, 1))


def _resident(name: str, work: bool) -> int:
    command = [sys.executable, "-m", "benchmarks.vectorize", "--resident", name, str(int(work))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)


def show_resident(name: str, work: bool) -> None:
    """Print the peak resident set of this process in bytes; `resident_bytes` runs it.

    `ru_maxrss` is unsuitable: a child inherits that of its parent.
    """
    text = prepared().text
    kept = {"ours": ours, "script": script}[name](text) if work else None
    status = Path("/proc/self/status").read_text()
    kilobytes = int(status.partition("VmHWM:")[2].split()[0])
    sys.stdout.write(str(kilobytes * 1024))
    del kept


def prepared() -> Corpus:
    """Load the corpus as `classic` reads it: lower-cased."""
    corpus = load_corpus("nietzsche")
    return Corpus(corpus.text.lower(), f"{corpus.label}, lower-cased")


def measure(options: Options) -> list[Row]:
    """Measure time and memory on the whole corpus."""
    corpus = prepared()
    text = corpus.text
    if not same_windows(text):
        raise SystemExit("Quire's windows differ from the script's: there is nothing to compare")
    rounds = 3 if options.quick else 5
    seconds, peer_seconds = interleave(
        timed(lambda: ours(text), REPEATS), timed(lambda: script(text)), rounds
    )
    peaks, peer_peaks = [peak_bytes(ours, text)], [peak_bytes(script, text[: len(text) // 10]) * 10]
    peer = "peer: the script's loops into bool one-hot arrays x [n, 60, V] and y"
    did = "ours: vocabulary, ids, tail and the first epoch's shuffled starts"
    resident, peer_resident = resident_bytes("ours"), resident_bytes("script")
    memory = (
        f"{peer}, measured on a tenth and extrapolated; {did}; peak of tracemalloc, at most 4 MB "
        f"for ours; the resident peak of a fresh process grew by {resident / 1e6:.1f} MB and "
        f"{peer_resident / 1e6:.0f} MB"
    )
    return [
        row(
            "vectorize/nietzsche",
            seconds,
            peer_seconds,
            "s",
            TARGET_RATIO,
            f"{corpus.label}; {peer}; {did}; also needs at most 4 MB: {peaks[0] / 1e6:.2f} MB",
            also=peaks[0] <= TARGET_BYTES,
        ),
        row(
            "vectorize/nietzsche_peak",
            [peak / 1e6 for peak in peaks],
            [peak / 1e6 for peak in peer_peaks],
            "MB",
            1,
            f"{corpus.label}; {memory}",
            also=peaks[0] <= TARGET_BYTES,
        ),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--resident"]:
        show_resident(sys.argv[2], sys.argv[3] == "1")
    else:
        main("Vectorise: text to training input", measure)
