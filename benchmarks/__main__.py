"""Runs all benchmarks, one after the other, and writes `benchmarks/README.md`.

`python -m benchmarks` measures all rows. `--quick` prints its tables and leaves the README as it
is, and so do `--only` and `--row` without `--write`. With it the other rows keep their last
figures, which are stored in `results.json`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.support.harness import machine
from benchmarks.support.plot import picture

#: Each script, with the rows that it writes if everything it needs is installed.
SCRIPTS = {
    "vectorize": ("vectorize/nietzsche", "vectorize/nietzsche_peak"),
    "generate": (
        *("generate/one_stream", "generate/64_streams", "generate/one_stream_script"),
        *("generate/classic_window", "generate/thirty_checkpoints"),
    ),
    "serve": (
        *("serve/crowd_64", "serve/crowd_64_celery", "serve/crowd_16", "serve/crowd_4"),
        *("serve/one", "serve/thirty_models", "serve/get_job", "serve/postgresql_64"),
    ),
    "latency": ("serve/first_character", "serve/beside_a_flood"),
    "evening": ("serve/evening", "serve/evening_classic"),
    "open_loop": ("serve/open_loop",),
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
        *("corpora/hongloumeng_alphabet", "corpora/hongloumeng_60s", "corpora/hongloumeng_300s"),
        *("corpora/nottingham", "corpora/nottingham_tunes"),
    ),
    "items": ("items/nottingham_new", "items/nottingham_accepted"),
    "fairness": (
        *("fairness/service_lag", "fairness/share_error", "fairness/light_wait"),
        *("fairness/idle", "fairness/claim_p95_ms", "fairness/switch_share"),
    ),
    "gpu": (
        *("gpu/step_classic", "gpu/step_default", "gpu/step_large"),
        *("gpu/streams_1", "gpu/streams_32", "gpu/streams_512", "gpu/streams_2048"),
        *("gpu/crossover", "gpu/two_slots", "gpu/checkpoint"),
    ),
    "switching": ("fairness/switch_seconds",),
}
#: What a machine may lack for a whole script, whose rows are then left out as one.
NEEDS = {"gpu": "no GPU"}
README = Path(__file__).parent / "README.md"
RESULTS = README.with_name("results.json")
PLOT = README.with_name("ratios.svg")
HEAD = """\
# Benchmarks

Each row is written by its script; `make bench` runs all scripts and writes this page. A script
measures Quire and a baseline (the peer) in one run on one machine, in alternating rounds if there
are several. The peer is what a competent user would write. Where the baseline would take hours,
part of it was measured and extrapolated; some rows have a fixed limit instead of a peer. Their
conditions say so. A ratio above 1 means that Quire is better. To run one script: `python -m
benchmarks.vectorize`, with `--quick` in under a minute; one row alone:
`python -m benchmarks --row serve/crowd_64`, which runs its script.

The rows `serve/…` measure texts over HTTP. Their peer is a plain service that does the same work
(`benchmarks/peers/plain_service.py`: Flask, gunicorn, SQLAlchemy with a row for each job, a
Celery task for each text on a worker for each core), with the same network, Redis, database and
durability. The client is `wrk` where it is installed. Only answers of status 200 with all texts
count, a server is loaded until it gets no faster before it is measured, and Quire runs with its
default settings: 64 connections share one key.

{machine}

{left_out}| row | Quire | peer | unit | ratio | target | met |
| --- | ---: | ---: | --- | ---: | ---: | --- |
{rows}

![Each ratio beside its target](ratios.svg)

## Conditions and peers

{conditions}
"""

Row = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks.

    Returns:
        0 if every script could measure, whatever its figures; else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure less, for a first look")
    parser.add_argument(
        "--only", choices=SCRIPTS, action="append", help="run only this script (repeatable)"
    )
    parser.add_argument(
        "--row",
        choices=[row for rows in SCRIPTS.values() for row in rows],
        action="append",
        default=[],
        metavar="ROW",
        help="measure only this row, with its script (repeatable)",
    )
    parser.add_argument(
        "--write", action="store_true", help="write the README with --only and --row, too"
    )
    options = parser.parse_args(arguments)
    results: dict[str, list[Row]] = {}
    failed: list[str] = []
    wanted = set(options.row)
    scripts = [name for name, rows in SCRIPTS.items() if not wanted or wanted.intersection(rows)]
    for name in options.only or scripts:
        print(f"== {name}", flush=True)
        measured = measure(name, quick=options.quick, rows=options.row)
        if measured is None:
            failed.append(name)
        else:
            results[name] = measured
    if failed:
        print(
            f"could not measure: {', '.join(failed)}; {README.name} is unchanged", file=sys.stderr
        )
        return 1
    if not options.quick and (options.write or not (options.only or options.row)):
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
        print(f"{README.name} and {PLOT.name} are written")
    return 0


def merged(names: Sequence[str], before: Sequence[Row], now: Sequence[Row]) -> list[Row]:
    """Merge the rows of a script, in its order: new figures replace old ones."""
    rows = {row["name"]: row for row in (*before, *now)}
    return [rows[name] for name in names if name in rows]


def measure(name: str, *, quick: bool, rows: Sequence[str] = ()) -> list[Row] | None:
    """Run one script in its own process; return its rows, or None if it could not measure."""
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
    """Render the README: a table of all rows, the missing rows, and the conditions of each.

    Args:
        rows: The rows that the scripts wrote.
        here: The machine. Each row's conditions end with it; the page states it once, and again
            for rows that were measured on another machine or day.
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
    missing = ", ".join(_missing(there))
    return HEAD.format(
        machine=here,
        left_out=f"Not measured: {missing}.\n\n" if missing else "",
        rows="\n".join(table),
        conditions="\n".join(conditions),
    )


def _missing(there: Container[str]) -> Iterator[str]:
    """The rows that were not measured."""
    for script, names in SCRIPTS.items():
        absent = [name for name in names if name not in there]
        if script in NEEDS and len(absent) == len(names):
            yield f"`{script}/…` ({NEEDS[script]})"
        else:
            yield from (f"`{name}`" for name in absent)


def figure(value: float) -> str:
    """Format a figure with four digits, as many as rounds on one machine can support."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
