"""Characters per second: Quire's compiled loop, PyTorch's LSTM and the classic script.

There are two peers. The first is what a competent user writes in PyTorch today: `nn.LSTM` and
`nn.Linear` under `inference_mode`, the state carried from character to character, a softmax and
`multinomial`. The second is the classic script: a Keras model, a one-hot window of 60 characters,
`model.predict` for every character, a draw in NumPy, and the window moved by one; it is the peer of
`classic_window` and `one_stream_script`. Without PyTorch its rows are skipped with a message.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import numpy.typing as npt

from benchmarks.support.harness import ROUNDS, Options, Row, interleave, main, row
from worker.ml.config import NetworkConfig
from worker.ml.runtime import configure
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.stack import warm_up_stacks

VOCABULARY = 57
WINDOW = 60
UNITS = 128
#: Folded into a look-up table before the first character, so its size does not affect the speed.
EMBEDDING = 64
TEMPERATURE = 0.5
STREAMS = 64
CHECKPOINTS = 30
THREADS = 2
#: The speed that 64 streams must reach, whatever the peer does.
CHARACTERS_PER_SECOND = 400_000
STATEFUL = NetworkConfig(VOCABULARY, EMBEDDING, UNITS, layers=1, window=None)
CLASSIC = NetworkConfig(VOCABULARY, 0, UNITS, layers=1, window=WINDOW)
SHAPE = f"LSTM({UNITS}), {VOCABULARY} characters, temperature {TEMPERATURE}, random weights"

Weights = dict[str, npt.NDArray[np.float32]]


def measure(options: Options) -> list[Row]:
    """Measure all rows, with random weights, which do not affect the speed."""
    # As in the generate lane: parallel batches with one thread each.
    configure(threads=1, device="cpu")
    rounds = ROUNDS if options.quick else 3 * ROUNDS
    return [
        *compare_with_torch(options, rounds),
        *compare_with_script(options, rounds),
        compare_with_turns(rounds),
    ]


def compare_with_script(options: Options, rounds: int) -> list[Row]:
    """Compare one text with `model.predict` for each of its characters."""
    peer = KerasScript(random_weights(CLASSIC))
    script = "peer: keras model.predict per character on a one-hot window of 60"
    rows = []
    for name, network, length, target, state in (
        ("one_stream_script", STATEFUL, 20_000, 2500, "state carried"),
        ("classic_window", CLASSIC, 2_000, 250, "60 steps from zero each"),
    ):
        ours, theirs = interleave(
            partial(seconds_per_character, warmed(network), length),
            partial(peer.seconds_per_character, 10 if options.quick else 30),
            rounds,
        )
        conditions = f"{SHAPE}; {state}, one text of {length:,}, with its prompt; {script}"
        rows.append(row(f"generate/{name}", ours, theirs, "s/character", target, conditions))
    return rows


def compare_with_torch(options: Options, rounds: int) -> list[Row]:
    """Compare one text, and 64 concurrent ones, with PyTorch."""
    if (peer := torch_loop(random_weights(STATEFUL))) is None:
        sys.stdout.write(
            "generate/one_stream and generate/64_streams are skipped: their peer PyTorch is not "
            "installed (pip install torch)\n"
        )
        return []
    description = (
        f"{SHAPE}; state carried; peer: torch nn.LSTM loop under inference_mode, its threads"
    )
    length = 300 if options.quick else 1000
    one, theirs = interleave(
        partial(seconds_per_character, warmed(STATEFUL), 20_000), lambda: peer(1, length), rounds
    )
    many, their_many = interleave(
        lambda: streams_per_second(warmed(STATEFUL), 2_000),
        lambda: STREAMS / peer(STREAMS, length),
        rounds,
    )
    enough = sorted(many)[len(many) // 2] >= CHARACTERS_PER_SECOND
    return [
        row(
            "generate/one_stream",
            one,
            theirs,
            "s/character",
            10,
            f"{description}; one text of 20,000, in a batch that keeps a seed's bits",
        ),
        row(
            "generate/64_streams",
            many,
            their_many,
            "characters/s",
            2,
            f"{description}, one batch of {STREAMS}; ours: texts of 2,000 through the engine, "
            f"{THREADS} parallel batches; must also reach {CHARACTERS_PER_SECOND:,}/s",
            more_is_better=True,
            also=enough,
        ),
    ]


def compare_with_turns(rounds: int) -> Row:
    """Compare one text of each of 30 checkpoints: stacked weights, and taking turns."""
    samplers = [warmed(STATEFUL, seed) for seed in range(CHECKPOINTS)]
    turns = [warmed(STATEFUL, seed) for seed in range(CHECKPOINTS)]
    for sampler in turns:
        sampler.stackable = False
    ours, theirs = interleave(
        lambda: each_per_second(samplers, 2_000), lambda: each_per_second(turns, 2_000), rounds
    )
    conditions = (
        f"{SHAPE}; {CHECKPOINTS} checkpoints with one text each, {THREADS} parallel batches; "
        "ours: checkpoints share a step with stacked weights, with the same bits as alone; peer: "
        "the same engine, in which they take turns"
    )
    return row(
        "generate/thirty_checkpoints",
        ours,
        theirs,
        "characters/s",
        1,
        conditions,
        more_is_better=True,
    )


def warmed(network: NetworkConfig, seed: int = 0) -> Sampler:
    """Create a sampler whose graphs are compiled."""
    sampler = Sampler(random_weights(network, seed), network)
    for rows in sampler.buckets:
        sampler.warm_up(rows)
    if sampler.stackable:
        warm_up_stacks(sampler)
    return sampler


def sampling_request(length: int, seed: int = 1) -> SamplingRequest:
    """Create a request whose prompt fills the script's window."""
    return SamplingRequest(np.arange(WINDOW) % VOCABULARY, length, TEMPERATURE, None, None, seed)


def seconds_per_character(sampler: Sampler, length: int) -> float:
    """Measure the seconds per character of a long text, prompt and calls included."""
    started = time.perf_counter()
    sampler.generate([sampling_request(length)])
    return (time.perf_counter() - started) / length


def streams_per_second(sampler: Sampler, length: int) -> float:
    """Measure the characters per second of 64 texts in the engine."""
    return _run_engine([sampler] * STREAMS, length)


def each_per_second(samplers: list[Sampler], length: int) -> float:
    """Measure the characters per second of one text of each sampler in the engine."""
    return _run_engine(samplers, length)


def _run_engine(samplers: list[Sampler], length: int) -> float:
    engine = Engine(THREADS)
    started = time.perf_counter()
    for seed, sampler in enumerate(samplers):
        engine.add(sampler.new_sequence(sampling_request(length, seed)), sampler, owner=seed)
    while len(engine):
        engine.step()
    seconds = time.perf_counter() - started
    engine.close()
    return len(samplers) * length / seconds


def random_weights(network: NetworkConfig, seed: int = 0) -> Weights:
    """Draw weights of plausible magnitude, by name."""
    random = np.random.default_rng(seed)
    return {
        name: random.normal(0, 0.1, sizes).astype(np.float32)
        for name, sizes in network.weight_shapes().items()
    }


def torch_loop(weights: Weights) -> Callable[[int, int], float] | None:
    """Create the PyTorch peer: (streams, length) to seconds per step; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    embedding = torch.nn.Embedding(VOCABULARY, EMBEDDING)
    lstm = torch.nn.LSTM(EMBEDDING, UNITS)
    head = torch.nn.Linear(UNITS, VOCABULARY)
    torch.manual_seed(0)

    def seconds_per_step(streams: int, length: int) -> float:
        with torch.inference_mode():
            last = torch.zeros(1, streams, dtype=torch.long)
            state = (torch.zeros(1, streams, UNITS), torch.zeros(1, streams, UNITS))
            started = time.perf_counter()
            for _ in range(length):
                output, state = lstm(embedding(last), state)
                likely = torch.softmax(head(output[0]) / TEMPERATURE, -1)
                last = torch.multinomial(likely, 1).T
            return (time.perf_counter() - started) / length

    seconds_per_step(1, 50)
    seconds_per_step(STREAMS, 50)
    return seconds_per_step


class KerasScript:
    """The peer: `keras.Sequential` and a loop around `predict`."""

    def __init__(self, weights: dict[str, npt.NDArray[np.float32]]) -> None:
        """Build the model and let Keras compile it."""
        self._model = keras.Sequential(
            [
                keras.Input((WINDOW, VOCABULARY)),
                keras.layers.LSTM(UNITS),
                keras.layers.Dense(VOCABULARY, activation="softmax"),
            ]
        )
        self._model.set_weights(list(weights.values()))
        self._random = np.random.default_rng(0)
        self._ids = [place % VOCABULARY for place in range(WINDOW)]
        self.write(3)

    def write(self, length: int) -> None:
        """Generate characters, one call of `predict` each."""
        for _ in range(length):
            window = np.zeros((1, WINDOW, VOCABULARY), np.float32)
            window[0, np.arange(WINDOW), self._ids[-WINDOW:]] = 1
            probabilities = self._model.predict(window, verbose=0)[0].astype(np.float64)
            logits = np.log(probabilities + 1e-30) / TEMPERATURE
            scaled = np.exp(logits - logits.max())
            self._ids.append(int(self._random.choice(VOCABULARY, p=scaled / scaled.sum())))

    def seconds_per_character(self, length: int) -> float:
        """Measure the seconds per character, steady state."""
        started = time.perf_counter()
        self.write(length)
        return (time.perf_counter() - started) / length


if __name__ == "__main__":
    main("Generate: characters", measure)
