"""What all benchmarks share: options, interleaved rounds, rows, the table and the JSON file.

A benchmark is a function from `Options` to rows, started by `main(title, measure)`. Ours and its
peer take turns in one process, round by round, so that a busy moment of the machine hits both.
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

ROUNDS = 5
PACKAGES = ("tensorflow", "keras", "numpy", "celery", "flask", "sqlalchemy", "redis")


@dataclass(frozen=True)
class Options:
    """How a benchmark was asked to run.

    Attributes:
        quick: Measure less, in under a minute, and say so.
        rows: Those that are asked for; empty for all. Heeded where rows take minutes each.
    """

    quick: bool
    rows: tuple[str, ...] = ()

    def wants(self, name: str) -> bool:
        """Whether a row is asked for."""
        return not self.rows or name in self.rows


@dataclass(frozen=True)
class Sample:
    """The values that the rounds gave, in the unit of their row."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Distance from the smallest to the largest value, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0

    def told_spread(self) -> str:
        """The spread in words; one round has none."""
        return f"{self.spread:.0%}" if len(self.values) > 1 else "–"


@dataclass(frozen=True)
class Row:
    """One figure beside its peer's; `ratio` above 1 means that Quire is better."""

    name: str
    ours: Sample
    peer: Sample
    unit: str
    ratio: float
    target: float
    met: bool
    conditions: str

    def as_json(self) -> dict[str, Any]:
        """The row as it stands in the JSON file; a sample becomes its median."""
        counts = len(self.ours.values), len(self.peer.values)
        rounds = "one round"
        if max(counts) > 1:
            spread = f"spread ours {self.ours.told_spread()}, peer {self.peer.told_spread()}"
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
    """A text to measure on, and the words that say which one it is."""

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
    """A row from what the rounds gave: seconds and losses want to be small, speeds large.

    Args:
        name: `benchmark/what`.
        ours: Quire's values, one a round.
        peer: The peer's values.
        unit: What both are counted in.
        target: The least ratio that meets the target.
        conditions: Who the peer is, on which text, and what was left out when it was quick.
        more_is_better: The unit is a speed, not a time, a size or a loss.
        also: A second condition, named in `conditions`, that `met` needs besides the ratio.
    """
    mine, theirs = Sample(tuple(ours)), Sample(tuple(peer))
    over, under = (mine, theirs) if more_is_better else (theirs, mine)
    ratio = over.median / under.median
    return Row(name, mine, theirs, unit, ratio, target, ratio >= target and also, conditions)


def interleave(
    ours: Callable[[], float], peer: Callable[[], float], rounds: int = ROUNDS
) -> tuple[list[float], list[float]]:
    """Let the two measure themselves in turn, `rounds` times each; the values of each."""
    pairs = [(peer(), ours()) for _ in range(rounds)]
    return [mine for _, mine in pairs], [theirs for theirs, _ in pairs]


def timed(work: Callable[[], object], repeat: int = 1) -> Callable[[], float]:
    """A measurement for `interleave`: the seconds that one call of `work` takes."""

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(repeat):
            work()
        return (time.perf_counter() - started) / repeat

    return measure


def find_corpus(name: str) -> Corpus | None:
    """The named corpus of `QUIRE_CORPUS_DIR`, a text or tunes; None where it is not there."""
    folder = os.environ.get("QUIRE_CORPUS_DIR")
    for path in [Path(folder, name + ending) for ending in (".txt", ".abc")] if folder else []:
        if path.exists():
            text = path.read_text(encoding="utf-8")
            return Corpus(text, f"{name}, {len(text):,} characters")
    return None


def load_corpus(name: str) -> Corpus:
    """The named corpus of `QUIRE_CORPUS_DIR`, else the English text that every CPython carries."""
    if (found := find_corpus(name)) is not None:
        return found
    from pydoc_data import topics

    text = "\n".join(topics.topics[key] for key in sorted(topics.topics))
    return Corpus(text, f"pydoc_data.topics instead of {name}, {len(text):,} characters")


def machine() -> str:
    """Processor, cores, versions and day, in one line."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0))
    parts = [f"{_processor()}, {cores} cores", f"Python {platform.python_version()}", *versions]
    return ", ".join([*parts, f"{datetime.now(UTC):%Y-%m-%d}"])


def main(title: str, measure: Callable[[Options], list[Row]]) -> None:
    """Run one benchmark from the command line; exits 0 when it could measure."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--quick", action="store_true", help="measure less, in under a minute")
    parser.add_argument("--row", action="append", default=[], help="this one (repeatable)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the rows there")
    arguments = parser.parse_args()
    rows = measure(Options(arguments.quick, tuple(arguments.row)))
    sys.stdout.write(f"\n{title}\n{machine()}\n\n{table(rows)}\n")
    if arguments.json:
        arguments.json.write_text(json.dumps([each.as_json() for each in rows], indent=2) + "\n")


def table(rows: Sequence[Row]) -> str:
    """The rows as plain text columns, the conditions of each below it."""
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
        each.ours.told_spread(),
        _figure(each.peer.median),
        each.peer.told_spread(),
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
