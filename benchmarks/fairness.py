"""Fair shares of a server's devices over a day, and the cost of a claim.

A day of thirty users on 1, 4 and 16 simulated devices, with the real queue on a real PostgreSQL
(benchmarks/support/simulated_day.py). The peer is first come, first served, which is the order of
plain Celery. In these rows the ratio is the target divided by Quire's figure.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Engine, insert, text

from benchmarks.support.harness import Options, Row, Sample, main
from benchmarks.support.policies import QUANTUM_SECONDS, Fifo, RealQueue, SimulatedClock, make_model
from benchmarks.support.simulated_day import STEP_SECONDS, SWITCH_SECONDS, Day, Simulation
from migrations.migrate import upgrade
from shared import accounts
from shared.clock import database_now
from shared.database import make_engine, make_sessions
from shared.ids import new_id
from shared.queue import Queue
from shared.settings import Settings
from shared.tables import Job
from tests.services.postgres import PostgresServer, postgres_server

HOURS = {1: 24.0, 4: 24.0, 16: 24.0}
QUICK_HOURS = {1: 24.0, 4: 6.0, 16: 1.5}
LAG_QUANTA = 1 + STEP_SECONDS / QUANTUM_SECONDS
SHARE_ERROR, LIGHT_WAIT_QUANTA, IDLE_SHARE, SWITCH_SHARE = 0.02, 1.0, 0.01, 0.01
CLAIM_P95_MS = 10.0
QUEUED_ROWS, QUEUED_USERS, CLAIMS = 100_000, 100, 400
#: Smaller figures count as this, to avoid a division by zero.
MIN_FIGURE = 1e-4

_FIFO_CLAIM = text(
    "UPDATE jobs SET status = 'running', lease_expires_at = now() WHERE id = (SELECT id FROM jobs "
    "WHERE kind = 'train' AND status = 'queued' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"
)


def measure(options: Options) -> list[Row]:
    """Measure six rows."""
    hours = QUICK_HOURS if options.quick else HOURS
    with postgres_server() as server:
        days = {count: simulate(server, count, length) for count, length in hours.items()}
        claim_p95, fifo_p95 = claim_times(server, CLAIMS // 4 if options.quick else CLAIMS)
    lengths = ", ".join(f"{count} devices {length:g} h" for count, length in hours.items())
    day = f"30 users, {lengths}; the real queue on PostgreSQL, simulated devices and clock"
    ours = {count: mine for count, (mine, _) in days.items()}
    fifo = {count: theirs for count, (_, theirs) in days.items()}

    def worst(
        name: str, unit: str, limit: float, figure: Callable[[int, Day], float], what: str
    ) -> Row:
        mine = {count: figure(count, day) for count, day in ours.items()}
        theirs = {count: figure(count, day) for count, day in fifo.items()}
        conditions = f"{day}; {what}; the worst of {_each(mine)}; peer: first come, first served"
        return _row(name, max(mine.values()), max(theirs.values()), unit, limit, conditions)

    yields = ", ".join(f"{one.yields}" for one in ours.values())
    return [
        worst(
            "fairness/service_lag",
            "quanta",
            LAG_QUANTA,
            lambda count, day: day.lag_seconds / QUANTUM_SECONDS / count,
            "per device, the largest lag of one of 4 always busy users behind their share; "
            "a quantum is 300 s, a step 1 s",
        ),
        worst(
            "fairness/share_error",
            "",
            SHARE_ERROR,
            lambda _, day: day.share_error(),
            "the largest relative deviation of those 4 users from their share at the end",
        ),
        worst(
            "fairness/light_wait",
            "quanta",
            LIGHT_WAIT_QUANTA,
            lambda _, day: max(0.0, p95(day.light_waits)) / QUANTUM_SECONDS,
            "p95 of the wait of 21 light users, less the time that light users before them were "
            "served",
        ),
        worst(
            "fairness/idle",
            "",
            IDLE_SHARE,
            lambda count, day: day.idle_seconds / max(1.0, day.busy_seconds + day.idle_seconds),
            "device time that was idle while a job waited without being capped",
        ),
        _row(
            "fairness/claim_p95_ms",
            claim_p95,
            fifo_p95,
            "ms",
            CLAIM_P95_MS,
            f"PostgreSQL, {QUEUED_ROWS:,} queued rows of {QUEUED_USERS} users, sequential "
            "claims; peer: the oldest row, FOR UPDATE SKIP LOCKED, with a matching index",
        ),
        worst(
            "fairness/switch_share",
            "",
            SWITCH_SHARE,
            lambda _, day: day.switch_seconds / max(1.0, day.busy_seconds),
            f"{yields} yields, each charged with {SWITCH_SECONDS:g} s of device time",
        ),
    ]


def simulate(server: PostgresServer, devices: int, hours: float) -> tuple[Day, Day]:
    """Simulate a day with Quire's queue, and the same day with a FIFO list."""
    with server.database(f"day{devices}") as url:
        upgrade(url)
        engine = make_engine(url)
        clock = SimulatedClock()
        mine = Simulation(RealQueue(engine, clock), devices, hours, clock).run()
        engine.dispose()
    return mine, Simulation(Fifo(), devices, hours, SimulatedClock()).run()


def claim_times(server: PostgresServer, claims: int) -> tuple[float, float]:
    """Measure the p95 in milliseconds of Quire's claim, and of a claim of the oldest row."""
    with server.database("claims") as url:
        upgrade(url)
        engine = make_engine(url)
        _fill(engine)
        queue = Queue(engine, Settings(max_running_per_user=1000))
        mine = []
        for number in range(claims):
            started = time.perf_counter()
            [claim] = queue.claim("train", f"host/gpu:{number % 16}/train")
            mine.append((time.perf_counter() - started) * 1000)
            if number % 4:
                queue.succeed(claim)
        with engine.begin() as connection:
            connection.execute(text("CREATE INDEX fifo ON jobs (kind, id) WHERE status = 'queued'"))
        theirs = []
        for _ in range(claims):
            started = time.perf_counter()
            with engine.begin() as connection:
                connection.execute(_FIFO_CLAIM)
            theirs.append((time.perf_counter() - started) * 1000)
        engine.dispose()
    return p95(mine), p95(theirs)


def _fill(engine: Engine) -> None:
    """Insert queued rows of many users; some wait for another job or have a start deadline."""
    model, corpus = make_model(engine)
    with make_sessions(engine).begin() as session:
        users = [accounts.create_user(session, f"user{n}") for n in range(QUEUED_USERS)]
        session.flush()
        ids = [user.id for user in users]
    with engine.begin() as connection:
        now = database_now(connection)
        first = new_id()
        rows = [
            {
                "id": new_id() if number else first,
                "kind": "train",
                "user_id": ids[number % QUEUED_USERS],
                "name": "job",
                "status": "queued",
                "priority": number // QUEUED_USERS % 3 - 1,
                "spec": {"epochs": 3},
                "model_id": model,
                "corpus_id": corpus,
                "created_at": now,
                "after_job_id": first if number % 10 == 3 else None,
                "blocked_by": first if number % 10 == 3 else None,
                "start_before": now.replace(year=now.year + 1) if number % 10 == 5 else None,
            }
            for number in range(QUEUED_ROWS)
        ]
        for start in range(0, QUEUED_ROWS, 5000):
            connection.execute(insert(Job), rows[start : start + 5000])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _row(name: str, ours: float, peer: float, unit: str, limit: float, conditions: str) -> Row:
    description = (
        f"{conditions}; the limit is {limit:.4g}, and the ratio is the limit divided by the figure"
    )
    ratio = limit / max(ours, MIN_FIGURE)
    return Row(name, Sample((ours,)), Sample((peer,)), unit, ratio, 1.0, ratio >= 1, description)


def _each(figures: Mapping[int, float]) -> str:
    return ", ".join(f"{figure:.3g} on {count}" for count, figure in figures.items())


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile; a single value itself, and 0 for none."""
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else max(values, default=0.0)


if __name__ == "__main__":
    main("Fairness: shares of the devices over a day", measure)
