"""Quire and the plain service side by side: loaded in turn, in rounds of some seconds."""

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.support.harness import Options
from benchmarks.support.http_load import Load, Target, client_name, closed_loop
from benchmarks.support.plain_peer import PlainPeer, plain_peer
from benchmarks.support.stack import Stack, another_checkpoint, cpu_seconds, running, train
from tests.services.postgres import PostgresServer, cluster

LENGTH, MODELS = 200, 30
SECONDS, QUICK_SECONDS, ROUNDS, QUICK_ROUNDS = 4.0, 3.0, 5, 2
WARM_SECONDS, PAUSE_SECONDS = 2.0, 0.3
#: A server is warm once it gets no faster than this from one warm-up to the next.
WARM_GAIN, MOST_WARM_UPS, QUICK_WARM_UPS = 1.15, 15, 3
#: Without the other benchmarks' silence: a server logs its requests.
VARIABLES = {"QUIRE_LOG_LEVEL": "info"}
PREFER = "wait=30"


@dataclass(frozen=True)
class Pair:
    """Quire and the plain service, side by side.

    Attributes:
        checkpoints: Quire's; the plain service knows them by number.
    """

    quire: Stack
    plain: PlainPeer
    model: str
    checkpoints: Sequence[str]

    def ours(self, length: int = LENGTH, models: int = 1) -> Target:
        """Return what is requested of Quire."""
        bodies = [
            json.dumps({"model": self.model, "checkpoint": one, "prompt": "The ", "length": length})
            for one in self.checkpoints[:models]
        ]
        key = self.quire.client.key
        return Target(
            *(self.quire.port, "POST", "/v1/generate", key, bodies, PREFER),
            mark='"finish_reason":',
        )

    def theirs(self, length: int = LENGTH, models: int = 1) -> Target:
        """Return what is requested of the plain service."""
        bodies = [
            json.dumps({"checkpoint": str(number), "prompt": "The ", "length": length})
            for number in range(models)
        ]
        return Target(self.plain.port, "POST", "/generate", bodies=bodies)


@contextmanager
def pair_on(
    database_url: str | None = None, peer_url: str | None = None, models: int = 1
) -> Iterator[Pair]:
    """Run both, each on an empty database, by default on SQLite, with so many checkpoints."""
    with ExitStack() as stack:
        quire = stack.enter_context(running(database_url, VARIABLES))
        model = train(quire.client)
        checkpoints = [another_checkpoint(quire, model, seed) for seed in range(models)]
        plain = stack.enter_context(plain_peer(quire, checkpoints, LENGTH, peer_url))
        yield Pair(quire, plain, model, checkpoints)


@contextmanager
def postgresql_pair() -> Iterator[Pair]:
    """Run both on one PostgreSQL server that waits for its disk.

    Raises:
        ServerMissing: No program was found.
    """
    with cluster(durable=True) as own, own.serve():
        server = PostgresServer(own.url, "bench")
        with (
            server.database("quire") as ours,
            server.database("plain") as theirs,
            pair_on(ours, theirs) as pair,
        ):
            yield pair


def alternate(
    pair: Pair, ours: Target, theirs: Target, connections: int, options: Options
) -> tuple[list[Load], list[Load], str]:
    """Load both servers in turn.

    Returns:
        The rounds of Quire and of the peer, and how much CPU time an answer took of each process.
    """
    mine: list[Load] = []
    peer: list[Load] = []
    sides = ((theirs, peer, pair.plain.processes), (ours, mine, pair.quire.processes))
    used: dict[str, float] = defaultdict(float)
    answers: dict[str, float] = defaultdict(float)
    for target, _, _ in sides:
        warm_up(target, connections, options)
    for _ in range(rounds_of(options)):
        for target, loads, processes in sides:
            time.sleep(PAUSE_SECONDS)
            before = {name: cpu_seconds(pid) for name, pid in processes.items()}
            loads.append(closed_loop(target, connections, seconds_of_round(options)))
            for name, pid in processes.items():
                used[name] += cpu_seconds(pid) - before[name]
                answers[name] += loads[-1].per_second * seconds_of_round(options)
    if not all(answers.values()):
        raise RuntimeError("no answer came in time")
    words = [f"{name} {1e3 * used[name] / answers[name]:.1f}" for name in used]
    return mine, peer, ", ".join(words)


def warm_up(target: Target, connections: int, options: Options) -> None:
    """Load a server until it no longer gets faster: batches of each size are compiled here."""
    before = 0.0
    for _ in range(QUICK_WARM_UPS if options.quick else MOST_WARM_UPS):
        now = closed_loop(target, connections, WARM_SECONDS).per_second
        if 0 < now < WARM_GAIN * before:
            return
        before = now


def seconds_of_round(options: Options) -> float:
    """Return the seconds of a round."""
    return QUICK_SECONDS if options.quick else SECONDS


def rounds_of(options: Options) -> int:
    """Return how many rounds there are."""
    return QUICK_ROUNDS if options.quick else ROUNDS


def median_of_rounds(loads: Sequence[Load], name: str) -> float:
    """Return the median of a figure over the rounds."""
    figures: list[float] = [getattr(load, name) for load in loads]
    return statistics.median(figures)


def latency(mine: Sequence[Load], peer: Sequence[Load]) -> str:
    """Word both latencies for the conditions of a row."""
    figures = []
    for loads in (mine, peer):
        p50, p99 = median_of_rounds(loads, "p50"), median_of_rounds(loads, "p99")
        figures.append(f"p50 {1e3 * p50:.0f} ms and p99 {1e3 * p99:.0f} ms")
    return f"{figures[0]}, peer {figures[1]}"


def client(mine: Sequence[Load], peer: Sequence[Load]) -> str:
    """Word what the client took of the machine."""
    busiest = max(load.client_cpu for load in (*mine, *peer))
    return f"{client_name()}, which took at most {busiest:.0%} of a core"
