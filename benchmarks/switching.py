"""The cost of a switch between the trainings of two users on one device.

The same two trainings run one after the other, without interruption, and then together with a
quantum of some seconds, on one device with the real worker. The additional time divided by the
number of yields is the cost of one switch: a checkpoint, a claim, a load and a first step. There is
no peer: the limit is 3 seconds.
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
#: The default quantum.
DEFAULT_QUANTUM_SECONDS = 300
VARIABLES = {
    "QUIRE_QUANTUM_SECONDS": str(QUANTUM_SECONDS),
    "QUIRE_HEARTBEAT_SECONDS": "1",
    "QUIRE_LEASE_SECONDS": "10",
}
EPOCHS, QUICK_EPOCHS, ROUNDS = 4, 2, 3
END_SECONDS = 600.0


def measure(options: Options) -> list[Row]:
    """Measure one row."""
    epochs, rounds = (QUICK_EPOCHS, 1) if options.quick else (EPOCHS, ROUNDS)
    with running(variables=VARIABLES) as quire:
        clients = [quire.client, _second(quire)]
        corpora = [_upload(client) for client in clients]
        # The first training compiles the graph.
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
        f"CPU device, SQLite; {yields} yields; of the default quantum of "
        f"{DEFAULT_QUANTUM_SECONDS} s {100 * min(costs) / DEFAULT_QUANTUM_SECONDS:.2f} to "
        f"{100 * max(costs) / DEFAULT_QUANTUM_SECONDS:.2f} %; instead of a peer, "
        f"the limit is {ALLOWED_SECONDS:g} s"
    )
    return [row("fairness/switch_seconds", costs, [ALLOWED_SECONDS], "s", 1, conditions)]


def _run(quire: Stack, clients: list[Client], corpora: list[str], epochs: int) -> tuple[float, int]:
    """Train for all clients; return the seconds from first start to last end, and the yields."""
    # The server has closed connections that were idle meanwhile.
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
        events = connection.execute(
            select(JobEvent.data).where(JobEvent.job_id.in_(jobs), JobEvent.type == "queued")
        ).scalars()
        yields = sum(data.get("reason") == "yielded" for data in events)
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
    main("Fairness: the cost of a switch", measure)
