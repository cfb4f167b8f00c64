"""The benchmark harness: options, interleaved rounds, rows, the table and the JSON file.

A benchmark is a function from `Options` to rows, run by `main(title, measure)`. Quire and the peer
alternate round by round, so that a busy moment of the machine affects both.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from worker.ml.checkpoint import cpu_features

ROUNDS = 5
PACKAGES = ("tensorflow", "keras", "numpy", "celery", "flask", "sqlalchemy", "redis")


@dataclass(frozen=True)
class Options:
    """The command-line options of a benchmark.

    Attributes:
        quick: Measure less, in under a minute, and say so in the conditions.
        rows: The requested rows; empty for all. Scripts whose rows take minutes respect it.
    """

    quick: bool
    rows: tuple[str, ...] = ()

    def wants(self, name: str) -> bool:
        """Whether a row is requested."""
        return not self.rows or name in self.rows


@dataclass(frozen=True)
class Sample:
    """The values of all rounds, in the unit of the row."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """The range of the values, relative to the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0

    def spread_text(self) -> str:
        """Format the spread; a single round has none."""
        return f"{self.spread:.0%}" if len(self.values) > 1 else "–"


@dataclass(frozen=True)
class Row:
    """One figure of Quire and of its peer; a `ratio` above 1 means that Quire is better."""

    name: str
    ours: Sample
    peer: Sample
    unit: str
    ratio: float
    target: float
    met: bool
    conditions: str

    def as_json(self) -> dict[str, Any]:
        """Convert to the JSON file's form; a sample becomes its median."""
        counts = len(self.ours.values), len(self.peer.values)
        rounds = "one round"
        if max(counts) > 1:
            spread = f"spread ours {self.ours.spread_text()}, peer {self.peer.spread_text()}"
            rounds = f"{counts[0]} / {counts[1]} rounds, {spread}"
        return {
            "name": self.name,
            "ours": self.ours.median,
            "peer": self.peer.median,
            "unit": self.unit,
            "ratio": self.ratio,
            "target": self.target,
            "met": self.met,
            "conditions": f"{self.conditions}; {rounds}; {machine()}",
        }


@dataclass(frozen=True)
class Corpus:
    """A text to measure on, with a label that identifies it."""

    text: str
    label: str


def row(
    name: str,
    ours: Sequence[float],
    peer: Sequence[float],
    unit: str,
    target: float,
    conditions: str,
    *,
    more_is_better: bool = False,
    also: bool = True,
) -> Row:
    """Create a row from the values of the rounds.

    Args:
        name: `benchmark/what`.
        ours: Quire's values, one per round.
        peer: The peer's values.
        unit: The unit of both.
        target: The smallest ratio that meets the target.
        conditions: The peer, the text, and what a quick run left out.
        more_is_better: Larger values are better, as for speeds; not for times, sizes and losses.
        also: A second condition for `met`, described in `conditions`.
    """
    mine, theirs = Sample(tuple(ours)), Sample(tuple(peer))
    over, under = (mine, theirs) if more_is_better else (theirs, mine)
    ratio = over.median / under.median
    return Row(name, mine, theirs, unit, ratio, target, ratio >= target and also, conditions)


def interleave(
    ours: Callable[[], float], peer: Callable[[], float], rounds: int = ROUNDS
) -> tuple[list[float], list[float]]:
    """Measure both alternately, `rounds` times each; return the values of each."""
    pairs = [(peer(), ours()) for _ in range(rounds)]
    return [mine for _, mine in pairs], [theirs for theirs, _ in pairs]


def timed(work: Callable[[], object], repeat: int = 1) -> Callable[[], float]:
    """Create a measurement for `interleave`: the seconds of one call of `work`."""

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(repeat):
            work()
        return (time.perf_counter() - started) / repeat

    return measure


def find_corpus(name: str) -> Corpus | None:
    """Load a corpus of `QUIRE_CORPUS_DIR`, a text or tunes; None if it is missing."""
    folder = os.environ.get("QUIRE_CORPUS_DIR")
    for path in [Path(folder, name + ending) for ending in (".txt", ".abc")] if folder else []:
        if path.exists():
            text = path.read_text(encoding="utf-8")
            return Corpus(text, f"{name}, {len(text):,} characters")
    return None


def load_corpus(name: str) -> Corpus:
    """Load a corpus of `QUIRE_CORPUS_DIR`, or else the English text in every CPython."""
    if (found := find_corpus(name)) is not None:
        return found
    from pydoc_data import topics

    text = "\n".join(topics.topics[key] for key in sorted(topics.topics))
    return Corpus(text, f"pydoc_data.topics instead of {name}, {len(text):,} characters")


def machine() -> str:
    """Describe processor, instruction sets, cores, versions and date in one line."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0))
    processor = f"{_processor()} with {' '.join(cpu_features()) or 'no known instruction set'}"
    parts = [f"{processor}, {cores} cores", f"Python {platform.python_version()}", *versions]
    return ", ".join([*parts, f"{datetime.now(UTC):%Y-%m-%d}"])


def main(title: str, measure: Callable[[Options], list[Row]]) -> None:
    """Run one benchmark from the command line; exit with 0 if it could measure."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--quick", action="store_true", help="measure less, in under a minute")
    parser.add_argument(
        "--row", action="append", default=[], help="measure only this row (repeatable)"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the rows to this file")
    arguments = parser.parse_args()
    rows = measure(Options(arguments.quick, tuple(arguments.row)))
    sys.stdout.write(f"\n{title}\n{machine()}\n\n{table(rows)}\n")
    if arguments.json:
        arguments.json.write_text(json.dumps([each.as_json() for each in rows], indent=2) + "\n")


def table(rows: Sequence[Row]) -> str:
    """Format the rows as columns, with the conditions of each below it."""
    head = ("row", "ours", "±", "peer", "±", "unit", "ratio", "target", "met")
    lines = [head, *(_cells(each) for each in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True))]
    for each, cells in zip(rows, lines[1:], strict=True):
        text.append("  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)))
        text.append(f"    {each.conditions}")
    return "\n".join(text)


def _cells(each: Row) -> tuple[str, ...]:
    return (
        each.name,
        _figure(each.ours.median),
        each.ours.spread_text(),
        _figure(each.peer.median),
        each.peer.spread_text(),
        each.unit,
        _figure(each.ratio),
        _figure(each.target),
        "yes" if each.met else "NO",
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
