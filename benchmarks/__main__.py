"""Runs every benchmark, one after the other, and renews `benchmarks/README.md`.

`python -m benchmarks` measures all of it; `--quick` prints its tables and leaves the README alone,
and so does `--only`, unless `--write` is given: the rows of the other scripts then stay as they
were measured last, which `results.json` keeps.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import machine
from benchmarks.plot import picture

SCRIPTS = (
    "vectorize",
    "generate",
    "serve",
    "crowd",
    "polling",
    "classic",
    "train_throughput",
    "time_to_quality",
    "memory",
    "corpora",
    "fairness",
    "switching",
)
README = Path(__file__).parent / "README.md"
RESULTS = README.with_name("results.json")
PLOT = README.with_name("ratios.svg")
HEAD = """\
# What was measured

`make bench` writes this page. Each benchmark measures Quire and its peer in turn, in one run, on
one machine; a peer is what a competent user would write. A ratio above 1 means that Quire is
better. One of them alone: `python -m benchmarks.vectorize`, and `--quick` for under a minute.

{machine}

{left_out}| row | Quire | peer | unit | ratio | target | met |
| --- | ---: | ---: | --- | ---: | ---: | --- |
{rows}

![Each ratio beside its target](ratios.svg)

## Under which conditions, and beside whom

{conditions}
"""

Row = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure.

    Returns:
        0 where every script could measure, whatever its figures; else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure less, for a first look")
    parser.add_argument("--only", choices=SCRIPTS, action="append", help="this one (repeatable)")
    parser.add_argument("--write", action="store_true", help="renew the README with --only, too")
    options = parser.parse_args(arguments)
    results: dict[str, list[Row]] = {}
    failed: list[str] = []
    for name in options.only or SCRIPTS:
        print(f"== {name}", flush=True)
        measured = measure(name, quick=options.quick)
        if measured is None:
            failed.append(name)
        else:
            results[name] = measured
    if failed:
        print(f"could not measure: {', '.join(failed)}; {README.name} stays", file=sys.stderr)
        return 1
    if not options.quick and (options.write or not options.only):
        kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        results = {name: found for name in SCRIPTS if (found := results.get(name, kept.get(name)))}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        rows = [row for found in results.values() for row in found]
        left_out = [name for name in SCRIPTS if name not in results]
        README.write_text(page(rows, machine(), left_out), encoding="utf-8")
        PLOT.write_text(picture(rows, machine()), encoding="utf-8")
        print(f"{README.name} and {PLOT.name} are renewed")
    return 0


def measure(name: str, *, quick: bool) -> list[Row] | None:
    """The rows of one script, run in a process of its own; None if it could not measure."""
    with tempfile.TemporaryDirectory(prefix="quire-benchmarks-") as directory:
        path = Path(directory, "rows.json")
        argv = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(path)]
        done = subprocess.run(argv + ["--quick"] * quick, check=False)
        if done.returncode != 0 or not path.exists():
            return None
        rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
        return rows


def page(rows: Sequence[Row], here: str, left_out: Sequence[str] = ()) -> str:
    """The README: a table of all rows, and a paragraph of conditions for each.

    Args:
        rows: As the scripts wrote them.
        here: The machine, which each row names at its end; the page says it once, and again
            beside a row that was measured elsewhere, or on another day.
        left_out: Scripts that were never asked.
    """
    table = []
    for row in rows:
        figures = " | ".join(figure(row[key]) for key in ("ours", "peer"))
        ratios = " | ".join(figure(row[key]) for key in ("ratio", "target"))
        met = "yes" if row["met"] else "**no**"
        table.append(f"| `{row['name']}` | {figures} | {row['unit']} | {ratios} | {met} |")
    conditions = [
        f"- `{row['name']}`: {row['conditions'].removesuffix(f'; {here}')}." for row in rows
    ]
    missing = ", ".join(f"`{name}`" for name in left_out)
    return HEAD.format(
        machine=here,
        left_out=f"Not measured yet: {missing}.\n\n" if missing else "",
        rows="\n".join(table),
        conditions="\n".join(conditions),
    )


def figure(value: float) -> str:
    """Four digits are what rounds of one machine are good for."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
