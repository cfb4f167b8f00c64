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

from benchmarks.support.harness import machine
from benchmarks.support.plot import picture

#: Each script, and the rows that it writes where everything is there that it needs.
SCRIPTS = {
    "vectorize": ("vectorize/nietzsche", "vectorize/nietzsche_peak"),
    "generate": (
        *("generate/one_stream", "generate/64_streams", "generate/one_stream_script"),
        *("generate/classic_window", "generate/thirty_checkpoints"),
    ),
    "serve": (
        *("serve/generate_100", "serve/evening", "serve/evening_classic"),
        *("serve/first_character", "serve/generate_100_postgresql"),
    ),
    "crowd": ("serve/one_model", "serve/thirty_models", "serve/open_loop"),
    "polling": ("serve/get_job",),
    "classic": ("classic/epoch", "classic/val_loss_2_epochs"),
    "train_throughput": (
        *("train/128x64x64", "train/192x16x96", "train/256x64x64", "train/512x32x128"),
    ),
    "time_to_quality": (
        *("quality/nietzsche_script_best", "quality/nietzsche_90s"),
        *("quality/shakespeare_nanogpt_loss", "quality/shakespeare_equal_time"),
        "quality/shakespeare_300s",
    ),
    "memory": ("train/memory_per_character", "train/memory_estimate"),
    "corpora": (
        *("corpora/nietzsche", "corpora/tinyshakespeare", "corpora/hongloumeng"),
        *("corpora/hongloumeng_alphabet", "corpora/nottingham", "corpora/nottingham_tunes"),
    ),
    "fairness": (
        *("fairness/service_lag", "fairness/share_error", "fairness/light_wait"),
        *("fairness/idle", "fairness/claim_p95_ms", "fairness/switch_share"),
    ),
    "switching": ("fairness/switch_seconds",),
}
README = Path(__file__).parent / "README.md"
RESULTS = README.with_name("results.json")
PLOT = README.with_name("ratios.svg")
HEAD = """\
# What was measured

Each row was written by its script; `make bench` runs all of them and writes this page. A script
measures Quire and its peer in one run on one machine, in turn where it takes several rounds. A peer
is what a competent user would write; a row that has a bound in its place, or measured less than the
whole, says so below. A ratio above 1 means that Quire is better. One script alone:
`python -m benchmarks.vectorize`, and `--quick` for under a minute.

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
    parser.add_argument("--row", action="append", default=[], help="this one, of a script's rows")
    parser.add_argument("--write", action="store_true", help="renew the README with --only, too")
    options = parser.parse_args(arguments)
    results: dict[str, list[Row]] = {}
    failed: list[str] = []
    for name in options.only or SCRIPTS:
        print(f"== {name}", flush=True)
        measured = measure(name, quick=options.quick, rows=options.row)
        if measured is None:
            failed.append(name)
        else:
            results[name] = measured
    if failed:
        print(f"could not measure: {', '.join(failed)}; {README.name} stays", file=sys.stderr)
        return 1
    if not options.quick and (options.write or not options.only):
        kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        results = {
            name: found
            for name, rows in SCRIPTS.items()
            if (found := merged(rows, kept.get(name, []), results.get(name, [])))
        }
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        every = [row for found in results.values() for row in found]
        README.write_text(page(every, machine()), encoding="utf-8")
        PLOT.write_text(picture(every, machine()), encoding="utf-8")
        print(f"{README.name} and {PLOT.name} are renewed")
    return 0


def merged(names: Sequence[str], before: Sequence[Row], now: Sequence[Row]) -> list[Row]:
    """A script's rows in their order: as measured now, or else as they were before."""
    rows = {row["name"]: row for row in (*before, *now)}
    return [rows[name] for name in names if name in rows]


def measure(name: str, *, quick: bool, rows: Sequence[str] = ()) -> list[Row] | None:
    """The rows of one script, run in a process of its own; None if it could not measure."""
    with tempfile.TemporaryDirectory(prefix="quire-benchmarks-") as directory:
        path = Path(directory, "rows.json")
        argv = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(path)]
        argv += ["--quick"] * quick + [f"--row={row}" for row in rows]
        done = subprocess.run(argv, check=False)
        if done.returncode != 0 or not path.exists():
            return None
        found: list[Row] = json.loads(path.read_text(encoding="utf-8"))
        return found


def page(rows: Sequence[Row], here: str) -> str:
    """The README: a table of all rows, what is missing, and a paragraph of conditions for each.

    Args:
        rows: As the scripts wrote them.
        here: The machine, which each row names at its end; the page says it once, and again
            beside a row that was measured elsewhere, or on another day.
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
    there = {row["name"] for row in rows}
    every = [name for names in SCRIPTS.values() for name in names]
    missing = ", ".join(f"`{name}`" for name in every if name not in there)
    return HEAD.format(
        machine=here,
        left_out=f"Not measured: {missing}.\n\n" if missing else "",
        rows="\n".join(table),
        conditions="\n".join(conditions),
    )


def figure(value: float) -> str:
    """Four digits are what rounds of one machine are good for."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
