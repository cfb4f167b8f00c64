"""Four real texts: preset `default` after a fixed time, compared with an n-gram model and xz.

The text of a large alphabet is also measured after less time and after more, with the time as the
training's `budget`.
"""

import lzma
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from benchmarks.peers.ngrams import KneserNey
from benchmarks.support.abc_tunes import PARSER_SECONDS, accepted, parser_version, tunes
from benchmarks.support.harness import Corpus, Options, Row, find_corpus, load_corpus, main, row
from shared.specs.presets import fit_to_alphabet, resolve_train
from worker.ml.checkpoint import TrainingState
from worker.ml.config import TrainConfig, held_out_characters
from worker.ml.runtime import configure
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sampler import Sampler
from worker.ml.training.progress import EpochEnd, TrainingProgress, Validated
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize
from worker.ml.vocabulary import Vocabulary

TEXTS = ("nietzsche", "tinyshakespeare", "hongloumeng", "nottingham")
THREADS = 2
SEED = 1
SECONDS, QUICK_SECONDS = 90.0, 3.0
LARGE_ALPHABET = "hongloumeng"
BUDGETS_SECONDS = (60.0, 300.0)
#: A quick run uses the last characters of the text only.
QUICK_CHARACTERS = 60_000
#: The time for measuring the speed, which decides the number of epochs.
SPEED_SECONDS, QUICK_SPEED_SECONDS = 5.0, 1.0
ORDER = 6
WRITTEN, QUICK_WRITTEN = 40, 5
WRITTEN_CHARACTERS = 1500
TEMPERATURE = 0.5
ACCEPTED_TARGET = 0.95


@dataclass(frozen=True)
class TrainedNetwork:
    """A network after its training time.

    Attributes:
        state: Its training state.
        bits: Bits per character of the held-out tail, after the last epoch.
        description: The training, its time and its text.
    """

    state: TrainingState
    bits: float
    description: str


def configure_default(vocabulary: Vocabulary, **changes: Any) -> TrainConfig:
    """Configure preset `default` for an alphabet, judged on the tail as its peers are."""
    numbers = {"holdout": "tail", **changes}
    spec = resolve_train("default", numbers, seed=SEED, threads=THREADS, shards=THREADS)
    spec = fit_to_alphabet(spec, len(vocabulary))
    return TrainConfig.from_spec(spec.model_dump(), len(vocabulary))


def learn_within(corpus: Corpus, seconds: float) -> TrainedNetwork:
    """Train preset `default` with a budget of seconds, which includes building the graphs."""
    vocabulary, ids = vectorize(corpus.text)
    trainer = Trainer(configure_default(vocabulary, budget={"seconds": seconds}), ids, vocabulary)
    started = perf_counter()
    [*_, last] = [event for event in trainer.run() if isinstance(event, Validated)]
    windows = trainer.config.batch_size * trainer.config.window
    description = (
        f"{corpus.label}, last 5 % held out; ours: preset default with a budget of {seconds:g} s: "
        f"{perf_counter() - started:.0f} s, {trainer.step:,} steps of {windows:,} characters, "
        f"evaluated in windows of {trainer.config.window} from zero states"
    )
    return TrainedNetwork(trainer.state(), last.val_loss / math.log(2), description)


def learn(corpus: Corpus, quick: bool) -> TrainedNetwork:
    """Train preset `default` for the number of epochs that best fits the time."""
    vocabulary, ids = vectorize(corpus.text)
    config = configure_default(vocabulary)
    seconds = QUICK_SECONDS if quick else SECONDS
    trainer = Trainer(config, ids, vocabulary)
    epoch_seconds = trainer.steps_per_epoch * step_seconds(trainer, quick)
    epochs = max(1, round(seconds / epoch_seconds))
    trainer = Trainer(replace(config, epochs=epochs), ids, vocabulary)
    started = perf_counter()
    [*_, last] = [event for event in trainer.run() if isinstance(event, EpochEnd)]
    description = (
        f"{corpus.label}, last 5 % held out; ours: preset default, {epochs} epochs, the number "
        f"that best fits {seconds:g} s: {perf_counter() - started:.0f} s with validation, "
        f"evaluated in windows of {config.window} from zero states"
    )
    return TrainedNetwork(trainer.state(), last.val_loss / math.log(2), description)


def step_seconds(trainer: Trainer, quick: bool) -> float:
    """Measure the seconds of one step, after its graphs are built."""
    started = perf_counter()
    speed = 0.0
    for event in trainer.run():
        if isinstance(event, TrainingProgress):
            speed = event.tokens_per_second
            if perf_counter() - started > (QUICK_SPEED_SECONDS if quick else SPEED_SECONDS):
                break
    assert speed > 0, "the text is too short to measure a speed"
    return trainer.config.batch_size * trainer.config.window / speed


def peer_bits(text: str) -> tuple[float, str]:
    """Return the bits per character of the better peer on the same tail, and describe both."""
    tail = held_out_characters(len(text), 0.05)
    before, after = text[:-tail], text[-tail:]
    model = KneserNey(before, ORDER, alphabet=len(set(text)))
    found = {
        f"{ORDER}-grams (interpolated Kneser-Ney, whole context)": model.bits_per_char(
            after, before
        ),
        "xz -9e (bytes that the tail adds)": (packed(text) - packed(before)) * 8 / tail,
    }
    description = ", ".join(f"{name} {bits:.3f}" for name, bits in found.items())
    return min(found.values()), f"peer: the better of {description}"


def packed(text: str) -> int:
    """Return the size of a text under xz."""
    return len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def written(network: TrainedNetwork, prompt: str, count: int) -> Iterator[str]:
    """Generate texts, each with its prompt."""
    state = network.state
    vocabulary = state.vocabulary
    ids = vocabulary.encode(prompt)
    requests = [
        SamplingRequest(ids, WRITTEN_CHARACTERS, TEMPERATURE, None, None, seed)
        for seed in range(count)
    ]
    for drawn in Sampler(state.weights, state.network).generate(requests):
        yield prompt + vocabulary.decode(drawn)


def alphabet_row(corpus: Corpus, network: TrainedNetwork, count: int) -> Row:
    """Measure the share of generated characters that occur in the text; padding must be masked."""
    known = frozenset(corpus.text)
    texts = list(written(network, corpus.text[:60], count))
    share = sum(c in known for text in texts for c in text) / sum(map(len, texts))
    description = (
        f"{network.description}; {count} texts of {WRITTEN_CHARACTERS} characters at {TEMPERATURE}"
    )
    peer = "peer: the text itself; met only at 1"
    return row(
        "corpora/hongloumeng_alphabet", [share], [1.0], "share", 1, f"{description}; {peer}",
        more_is_better=True,
    )  # fmt: skip


def budget_row(corpus: Corpus, seconds: float, quick: bool, peer: tuple[float, str]) -> Row:
    """Measure the bits of a large alphabet within a time."""
    network = learn_within(corpus, QUICK_SECONDS if quick else seconds)
    name = f"corpora/{LARGE_ALPHABET}_{seconds:g}s"
    return row(name, [network.bits], [peer[0]], "bits", 1, f"{network.description}; {peer[1]}")


def tunes_row(corpus: Corpus, network: TrainedNetwork, count: int) -> Row | None:
    """Measure the share of complete tunes that an ABC parser accepts; None without a parser."""
    parser = parser_version()
    if parser is None:
        sys.stdout.write(
            "corpora/nottingham_tunes is not measured: music21 is missing "
            "(pip install -r benchmarks/requirements.txt)\n"
        )
        return None
    own = tunes(corpus.text)[-count:]
    texts = written(network, "X: 1\nT:", count)
    made = [found[0] for text in texts if len(found := tunes(text)) > 1]
    if not made:
        sys.stdout.write("corpora/nottingham_tunes is not measured: no tune is complete\n")
        return None
    theirs, ours = accepted(own), accepted(made)
    description = (
        f"{network.description}; {len(made)} of {count} texts at {TEMPERATURE} contain a complete "
        f"tune; accepted: {parser} reads it without an error or a warning, in {PARSER_SECONDS} s, "
        f"and finds a bar and eight notes or more (it forgives much: of 11 tunes with every "
        f"twentieth character wrong it took 8); peer: the corpus's own last {len(own)} tunes"
    )
    return row(
        "corpora/nottingham_tunes", [ours], [theirs], "share", ACCEPTED_TARGET, description,
        more_is_better=True,
    )  # fmt: skip


def measure(options: Options) -> list[Row]:
    """Measure the bits of each available text, and an additional row for two of them."""
    configure(threads=THREADS, device="cpu")
    count = QUICK_WRITTEN if options.quick else WRITTEN
    rows = []
    for name in TEXTS:
        if options.rows and not any(row.startswith(f"corpora/{name}") for row in options.rows):
            continue
        corpus = load_corpus(name) if name == TEXTS[0] else find_corpus(name)
        if corpus is None:
            sys.stdout.write(f"corpora/{name} is not measured: QUIRE_CORPUS_DIR has no {name}\n")
            continue
        if options.quick:
            piece = corpus.text[-QUICK_CHARACTERS:]
            corpus = Corpus(piece, f"{corpus.label}; QUICK: only its last {len(piece):,}")
        network = learn(corpus, options.quick)
        bits, peer = peer_bits(corpus.text)
        rows.append(
            row(
                f"corpora/{name}",
                [network.bits],
                [bits],
                "bits",
                1,
                f"{network.description}; {peer}",
            )
        )
        if name == LARGE_ALPHABET:
            rows.append(alphabet_row(corpus, network, count))
            rows += [
                budget_row(corpus, seconds, options.quick, (bits, peer))
                for seconds in BUDGETS_SECONDS
            ]
        if name == "nottingham" and (tunes_found := tunes_row(corpus, network, count)):
            rows.append(tunes_found)
    return rows


if __name__ == "__main__":
    main("Corpora: four real texts, bits per character, and generated texts", measure)
