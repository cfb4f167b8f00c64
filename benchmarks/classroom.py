"""A class of thirty users on one machine for a quarter of an hour or longer, with random faults.

All processes are real: PostgreSQL, Redis, the API, and workers on `cpu:0` and `cpu:1`. Each user
trains models, generates texts with them and with a shared one, polls, streams, lists and cancels,
and retries if the server says so; four users always have queued trainings. Every 30 s something
dies or freezes. At the end every job that was accepted with 202 must have ended, each text must be
stored once, and equal trainings must have equal digests.

With `--two-machines` the workers of `cpu:1` run on a second machine (a network namespace, which
needs root), and the link to it is cut halfway through, for longer than a lease.

    python -m benchmarks.classroom                 # 15 minutes, with a fault every 30 s
    python -m benchmarks.classroom --minutes 60    # a soak
    python -m benchmarks.classroom --quick         # 50 s, with a fault every 10 s
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
    HeavyUser,
    Measurements,
    SimulatedUser,
    percentiles,
)
from benchmarks.support.fault_injection import DEVICES, QUANTUM_SECONDS, Deployment
from benchmarks.support.harness import load_corpus, machine
from shared.database import make_sessions
from shared.tables import TERMINAL_STATUSES, Checkpoint, GeneratedText, Job, JobEvent, User

USERS = 30
CORPUS_CHARACTERS = 20_000
#: The users who always have queued trainings.
HEAVY_USERS = 4
#: The time for the last accepted jobs to end.
DRAIN_SECONDS = 600.0


@contextmanager
def _class(deployment: Deployment, measurements: Measurements) -> Iterator[list[SimulatedUser]]:
    text = load_corpus("nietzsche").text[:CORPUS_CHARACTERS]
    keys = deployment.add_users(USERS)
    stop = threading.Event()
    with httpx2.Client(
        base_url=deployment.url,
        headers={"Authorization": f"Bearer {keys[0]}"},
        trust_env=False,
        timeout=60,
    ) as teacher:
        body = {"name": "text", "text": text, "visibility": "server"}
        answer = teacher.post("/v1/corpora", json=body).raise_for_status()
        corpus = answer.json()["id"]
        asked = {"corpus": corpus, "seed": 1, "visibility": "server", **TRAINING}
        job = teacher.post("/v1/train", json=asked).raise_for_status().json()
        measurements.accepted.append(job["id"])
        while teacher.get(f"/v1/jobs/{job['id']}").json()["status"] != "succeeded":
            time.sleep(POLL_SECONDS)
    people = [
        (HeavyUser if number < HEAVY_USERS else SimulatedUser)(
            number, deployment.url, key, corpus, measurements, stop
        )
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


def _ended(deployment: Deployment, measurements: Measurements) -> list[Job]:
    """Wait for the accepted jobs and return the rows of those that have ended."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while True:
        with make_sessions(deployment.engine, read_only=True)() as session:
            rows = list(session.scalars(select(Job)))
        if all(row.status in TERMINAL_STATUSES for row in rows) or time.monotonic() > deadline:
            known = set(measurements.accepted)
            return [row for row in rows if row.id in known and row.status in TERMINAL_STATUSES]
        time.sleep(1)


def _digests(deployment: Deployment, jobs: list[Job]) -> tuple[int, int]:
    """Count successful trainings, and those whose digest differs from most of their equals."""
    found: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    with make_sessions(deployment.engine, read_only=True)() as session:
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


def _texts(deployment: Deployment, jobs: list[Job]) -> tuple[int, int, int]:
    """Count the requested texts, the duplicates and the missing ones."""
    with make_sessions(deployment.engine, read_only=True)() as session:
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


def _lag_quanta(deployment: Deployment) -> float:
    """Return the largest lag of a heavy user behind their mean, in quanta per device."""
    with make_sessions(deployment.engine, read_only=True)() as session:
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


def main(seconds: float, every: float, *, two_machines: bool) -> int:
    """Run the class for `seconds`, with a fault `every` so many; return 0 if nothing was lost."""
    measurements, dice = Measurements(), random.Random(4)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quire-class-")))
        deployment = stack.enter_context(Deployment.open(directory, two_machines=two_machines))
        with _class(deployment, measurements):
            began, cut = time.monotonic(), not two_machines
            faults: list[str] = []
            while (passed := time.monotonic() - began) < seconds - every / 2:
                time.sleep(every)
                is_time_to_cut = not cut and passed > seconds / 2 - every
                cut = cut or is_time_to_cut
                faults.append(
                    deployment.cut_link() if is_time_to_cut else deployment.inject_fault(dice)
                )
                print(f"{time.monotonic() - began:5.0f} s  {faults[-1]}", flush=True)
            deployment.start_missing()
            # Before the users leave: afterwards the heavy users have no work.
            lag = _lag_quanta(deployment)
        jobs = _ended(deployment, measurements)
        trainings, other = _digests(deployment, jobs)
        texts, doubled, missing = _texts(deployment, jobs)
    statuses = Counter(job.status for job in jobs)
    lost = len(measurements.accepted) - len(jobs)
    where = "two machines" if two_machines else "one machine"
    print(
        f"\n{seconds:g} s, {USERS} users, {where}, {len(faults)} faults; {machine()}\n"
        f"jobs accepted {len(measurements.accepted)}, ended {len(jobs)}, lost {lost}: "
        f"{dict(statuses)}\n"
        f"texts {texts}, duplicated {doubled}, missing {missing}; "
        f"{texts / seconds:.2f} per second\n"
        f"digests checked {trainings}, different from their equals {other}\n"
        f"service lag {lag:.2f} quanta of {QUANTUM_SECONDS:g} s per device\n"
        f"first character {percentiles(measurements.first_seconds)}\n"
        f"GET {percentiles(measurements.get_seconds)}\n"
        f"refused requests {dict(measurements.refused)}"
    )
    return int(bool(lost or doubled or missing or other))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classroom")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="50 s with a fault every 10 s")
    length.add_argument("--minutes", type=float, default=15.0, help="with a fault every 30 s")
    parser.add_argument(
        "--two-machines",
        action="store_true",
        help="run half of the workers on a second machine (needs root)",
    )
    asked = parser.parse_args()
    seconds, every = (50.0, 10.0) if asked.quick else (asked.minutes * 60, 30.0)
    sys.exit(main(seconds, every, two_machines=asked.two_machines))
