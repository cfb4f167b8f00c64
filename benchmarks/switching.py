"""What a device loses when one training makes way for another: two of two users, in turns.

The same two trainings run one after the other, each in one piece, and then at once with a quantum
of some seconds, on one device with the real worker. What that takes longer, divided by the yields,
is the price of one: a checkpoint, a claim, the load and the first step of the other. There is no
peer: 3 seconds are allowed.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import select

from benchmarks.support.harness import Options, Row, load_corpus, main, row
from benchmarks.support.stack import Client, Stack, connect, running, until
from shared import accounts
from shared.database import make_engine, make_sessions
from shared.tables import JobEvent

QUANTUM_SECONDS = 5
ALLOWED_SECONDS = 3.0
#: What a quantum is by default.
USUAL_QUANTUM_SECONDS = 300
VARIABLES = {
    "QUIRE_QUANTUM_SECONDS": str(QUANTUM_SECONDS),
    "QUIRE_HEARTBEAT_SECONDS": "1",
    "QUIRE_LEASE_SECONDS": "10",
}
EPOCHS, QUICK_EPOCHS, ROUNDS = 4, 2, 3
END_SECONDS = 600.0


def measure(options: Options) -> list[Row]:
    """One row."""
    epochs, rounds = (QUICK_EPOCHS, 1) if options.quick else (EPOCHS, ROUNDS)
    with running(variables=VARIABLES) as quire:
        clients = [quire.client, _second(quire)]
        corpora = [_upload(client) for client in clients]
        # The graph is compiled by the first.
        _run(quire, clients[:1], corpora, 1)
        costs, yields = [], 0
        for _ in range(rounds):
            alone = sum(
                _run(quire, [client], [corpus], epochs)[0]
                for client, corpus in zip(clients, corpora, strict=True)
            )
            together, count = _run(quire, clients, corpora, epochs)
            costs.append(max(0.01, together - alone) / max(1, count))
            yields += count
    conditions = (
        f"preset default on nietzsche, {epochs} epochs each, a quantum of {QUANTUM_SECONDS} s, one "
        f"CPU device, SQLite; {yields} yields; of the usual quantum of {USUAL_QUANTUM_SECONDS} s "
        f"{100 * min(costs) / USUAL_QUANTUM_SECONDS:.2f} to "
        f"{100 * max(costs) / USUAL_QUANTUM_SECONDS:.2f} %; in place of a peer, "
        f"{ALLOWED_SECONDS:g} s are allowed"
    )
    return [row("fairness/switch_seconds", costs, [ALLOWED_SECONDS], "s", 1, conditions)]


def _run(quire: Stack, clients: list[Client], corpora: list[str], epochs: int) -> tuple[float, int]:
    """Train for each client at once; the seconds from first start to last end, and the yields."""
    # The server has closed a connection that was not used meanwhile.
    clients = [connect(quire.environment, client.key) for client in clients]
    jobs = [
        client.call("POST", "/v1/train", {"corpus": corpus, "epochs": epochs, "seed": 1})["id"]
        for client, corpus in zip(clients, corpora, strict=False)
    ]
    found: list[dict[str, Any]] = []

    def ended() -> bool:
        found[:] = [
            client.call("GET", f"/v1/jobs/{job}") for client, job in zip(clients, jobs, strict=True)
        ]
        if any(job["status"] in ("failed", "cancelled") for job in found):
            raise RuntimeError(f"a training did not end well: {found}")
        return all(job["status"] == "succeeded" for job in found)

    until(ended, "the trainings", END_SECONDS, pause=0.5)
    first = min(datetime.fromisoformat(job["started_at"]) for job in found)
    last = max(datetime.fromisoformat(job["finished_at"]) for job in found)
    engine = make_engine(quire.database_url)
    with engine.connect() as connection:
        told = connection.execute(
            select(JobEvent.data).where(JobEvent.job_id.in_(jobs), JobEvent.type == "queued")
        ).scalars()
        yields = sum(data.get("reason") == "yielded" for data in told)
    engine.dispose()
    return (last - first).total_seconds(), yields


def _second(quire: Stack) -> Client:
    engine = make_engine(quire.database_url)
    with make_sessions(engine).begin() as session:
        user = accounts.create_user(session, "other", "member")
        session.flush()
        key = accounts.create_key(session, user).key
    engine.dispose()
    return connect(quire.environment, key)


def _upload(client: Client) -> str:
    body = {"name": "switching", "text": load_corpus("nietzsche").text}
    return str(client.call("POST", "/v1/corpora", body)["id"])


if __name__ == "__main__":
    main("Fairness: what a switch costs", measure)
