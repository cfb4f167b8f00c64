"""A class of thirty on one machine for a quarter of an hour, while anything is killed at random.

Real processes: PostgreSQL, Redis, the API, and workers on `cpu:0` and `cpu:1`. Each user trains
models, writes with their own and with one that all share, polls, watches, reads lists and cancels,
and tries again where the server says so; four of them always have trainings in the line. Every
30 s something dies or freezes. In the end every job that was answered with 202 must have ended,
each text must be there once, and equal trainings must have equal digests.

With `--two-machines` the workers of `cpu:1` run on another machine (a network namespace, root's),
and the link to it is cut in the middle, for longer than a lease.

    python -m benchmarks.classroom [--quick]     # 15 minutes, or 50 s with a fault each 10 s
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
from sqlalchemy import func, select

from benchmarks.support.classroom_users import (
    POLL_SECONDS,
    TRAINING,
    Heavy,
    Notes,
    Person,
    percentiles,
)
from benchmarks.support.fault_injection import DEVICES, QUANTUM_SECONDS, House
from benchmarks.support.harness import load_corpus, machine
from shared.database import make_sessions
from shared.tables import TERMINAL_STATUSES, Checkpoint, GeneratedText, Job, JobEvent, User

USERS = 30
CORPUS_CHARACTERS = 20_000
#: Those of them who always have work.
HEAVY_USERS = 4
#: For what was accepted last to end.
DRAIN_SECONDS = 600.0


@contextmanager
def _class(house: House, notes: Notes) -> Iterator[list[Person]]:
    text = load_corpus("nietzsche").text[:CORPUS_CHARACTERS]
    keys = house.add_users(USERS)
    stop = threading.Event()
    with httpx2.Client(
        base_url=house.url,
        headers={"Authorization": f"Bearer {keys[0]}"},
        trust_env=False,
        timeout=60,
    ) as teacher:
        body = {"name": "text", "text": text, "visibility": "server"}
        answer = teacher.post("/v1/corpora", json=body).raise_for_status()
        corpus = answer.json()["id"]
        asked = {"corpus": corpus, "seed": 1, "visibility": "server", **TRAINING}
        job = teacher.post("/v1/train", json=asked).raise_for_status().json()
        notes.accepted.append(job["id"])
        while teacher.get(f"/v1/jobs/{job['id']}").json()["status"] != "succeeded":
            time.sleep(POLL_SECONDS)
    people = [
        (Heavy if number < HEAVY_USERS else Person)(number, house.url, key, corpus, notes, stop)
        for number, key in enumerate(keys)
    ]
    for person in people:
        person.shared = job["model"]
        person.start()
    try:
        yield people
    finally:
        stop.set()
        for person in people:
            person.join(60)


def _ended(house: House, notes: Notes) -> list[Job]:
    """The rows of all accepted jobs, once each has ended or it took too long."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while True:
        with make_sessions(house.engine, read_only=True)() as session:
            rows = list(session.scalars(select(Job)))
        if all(row.status in TERMINAL_STATUSES for row in rows) or time.monotonic() > deadline:
            known = set(notes.accepted)
            return [row for row in rows if row.id in known and row.status in TERMINAL_STATUSES]
        time.sleep(1)


def _digests(house: House, jobs: list[Job]) -> tuple[int, int]:
    """Trainings that succeeded, and those whose digest is another than that of most equal ones."""
    found: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    with make_sessions(house.engine, read_only=True)() as session:
        for job in jobs:
            if job.kind == "train" and job.status == "succeeded":
                last = session.scalars(
                    select(Checkpoint.digest)
                    .where(Checkpoint.job_id == job.id)
                    .order_by(Checkpoint.step.desc())
                    .limit(1)
                ).one()
                found[job.spec["seed"], job.spec["epochs"]][last] += 1
    return (
        sum(sum(digests.values()) for digests in found.values()),
        sum(sum(digests.values()) - max(digests.values()) for digests in found.values()),
    )


def _texts(house: House, jobs: list[Job]) -> tuple[int, int, int]:
    """Requested texts, those that are there twice, and those that are missing."""
    with make_sessions(house.engine, read_only=True)() as session:
        query = select(GeneratedText.job_id, func.count(), func.count(func.distinct(
            GeneratedText.position))).where(GeneratedText.requested)  # fmt: skip
        rows = {row[0]: row[1:] for row in session.execute(query.group_by(GeneratedText.job_id))}
    wanted = {
        job.id: job.spec["n"] * len(job.spec["temperatures"])
        for job in jobs
        if job.kind == "generate" and job.status == "succeeded"
    }
    there = sum(count for count, _ in rows.values())
    doubled = sum(count - distinct for count, distinct in rows.values())
    missing = sum(number - rows.get(job_id, (0, 0))[1] for job_id, number in wanted.items())
    return there, doubled, missing


def _lag_quanta(house: House) -> float:
    """The most that one who always had work fell behind the mean of those, in quanta a device."""
    with make_sessions(house.engine, read_only=True)() as session:
        names = {f"user-{number}" for number in range(HEAVY_USERS)}
        query = (
            select(User.name, JobEvent)
            .join(Job, Job.id == JobEvent.job_id)
            .join(User, User.id == Job.user_id)
            .where(Job.kind == "train", User.name.in_(names))
            .order_by(JobEvent.at)
        )
        claimed: dict[tuple[str, int], float] = {}
        edges: list[tuple[float, str, int]] = []
        for name, event in session.execute(query):
            at, held = event.at.timestamp(), (event.job_id, event.attempt)
            if event.type == "claimed":
                claimed[held] = at
                edges.append((at, name, 1))
            elif "seconds" in event.data and claimed.pop(held, None) is not None:
                edges.append((at, name, -1))
    served, running = dict.fromkeys(names, 0.0), Counter[str]()
    worst = before = 0.0
    for at, name, change in sorted(edges):
        for user, devices in running.items():
            served[user] += devices * (at - before)
        running[name] += change
        before = at
        worst = max(worst, sum(served.values()) / len(names) - min(served.values()))
    return worst / QUANTUM_SECONDS / len(DEVICES)


def main(*, quick: bool, two_machines: bool) -> int:
    """Run it and print what came of it; 0 where nothing was lost."""
    seconds, every = (50.0, 10.0) if quick else (900.0, 30.0)
    notes, dice = Notes(), random.Random(4)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quire-class-")))
        house = stack.enter_context(House.open(directory, two_machines=two_machines))
        with _class(house, notes):
            began, cut = time.monotonic(), not two_machines
            faults: list[str] = []
            while (passed := time.monotonic() - began) < seconds - every / 2:
                time.sleep(every)
                is_time_to_cut = not cut and passed > seconds / 2 - every
                cut = cut or is_time_to_cut
                faults.append(house.cut() if is_time_to_cut else house.hurt(dice))
                print(f"{time.monotonic() - began:5.0f} s  {faults[-1]}", flush=True)
            house.mend()
            # Those who always had work have it no longer, once everybody has left.
            lag = _lag_quanta(house)
        jobs = _ended(house, notes)
        trainings, other = _digests(house, jobs)
        texts, doubled, missing = _texts(house, jobs)
    statuses = Counter(job.status for job in jobs)
    lost = len(notes.accepted) - len(jobs)
    where = "two machines" if two_machines else "one machine"
    print(
        f"\n{seconds:g} s, {USERS} users, {where}, {len(faults)} faults; {machine()}\n"
        f"jobs accepted {len(notes.accepted)}, ended {len(jobs)}, lost {lost}: {dict(statuses)}\n"
        f"texts {texts}, doubled {doubled}, missing {missing}; {texts / seconds:.2f} a second\n"
        f"digests checked {trainings}, other than their equals' {other}\n"
        f"service lag {lag:.2f} quanta of {QUANTUM_SECONDS:g} s a device\n"
        f"first character {percentiles(notes.first_seconds)}\n"
        f"GET {percentiles(notes.get_seconds)}\n"
        f"refused meanwhile {dict(notes.refused)}"
    )
    return int(bool(lost or doubled or missing or other))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classroom")
    parser.add_argument("--quick", action="store_true", help="50 s, a fault each 10 s")
    parser.add_argument("--two-machines", action="store_true", help="workers on both; root's")
    asked = parser.parse_args()
    sys.exit(main(quick=asked.quick, two_machines=asked.two_machines))
