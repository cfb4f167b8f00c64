"""Four real texts: what `default` makes of each in a stated time, beside an n-gram model and xz."""

import lzma
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter

from benchmarks.peers.ngrams import KneserNey
from benchmarks.support.abc_tunes import PARSER_SECONDS, accepted, parser_version, tunes
from benchmarks.support.harness import Corpus, Options, Row, find_corpus, load_corpus, main, row
from shared.specs.presets import resolve_train
from worker.ml.checkpoint import TrainingState
from worker.ml.config import TrainConfig, held_out_characters
from worker.ml.runtime import configure
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sampler import Sampler
from worker.ml.training.progress import EpochEnd, TrainingProgress
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize
from worker.ml.vocabulary import Vocabulary

TEXTS = ("nietzsche", "tinyshakespeare", "hongloumeng", "nottingham")
THREADS = 2
SEED = 1
SECONDS, QUICK_SECONDS = 90.0, 3.0
#: When quick, a piece of the text of this length stands for it.
QUICK_CHARACTERS = 60_000
#: How long the speed is measured before the number of epochs is fixed.
SPEED_SECONDS, QUICK_SPEED_SECONDS = 5.0, 1.0
ORDER = 6
WRITTEN, QUICK_WRITTEN = 40, 5
WRITTEN_CHARACTERS = 1500
TEMPERATURE = 0.5
ACCEPTED_TARGET = 0.95


@dataclass(frozen=True)
class Learnt:
    """A network after its time.

    Attributes:
        bits: Per character of the held-out tail, after the last epoch.
        told: What was trained, how long, and on what.
    """

    state: TrainingState
    bits: float
    told: str


def learn(corpus: Corpus, quick: bool) -> Learnt:
    """Train `default` through the product's own trainer, for whole epochs of about its time."""
    vocabulary, ids = vectorize(corpus.text)
    spec = resolve_train("default", {}, seed=SEED, threads=THREADS, shards=THREADS)
    config = TrainConfig.from_spec(spec.model_dump(), len(vocabulary))
    seconds = QUICK_SECONDS if quick else SECONDS
    trainer = Trainer(config, ids, vocabulary)
    epoch_seconds = trainer.steps_per_epoch * step_seconds(trainer, quick)
    epochs = max(1, round(seconds / epoch_seconds))
    trainer = Trainer(replace(config, epochs=epochs), ids, vocabulary)
    started = perf_counter()
    [*_, last] = [event for event in trainer.run() if isinstance(event, EpochEnd)]
    told = (
        f"{corpus.label}, last 5 % held out; ours: preset default, {epochs} epochs, as many as fit "
        f"best into {seconds:g} s: {perf_counter() - started:.0f} s with validation, judged in "
        f"windows of {config.window} from zero states"
    )
    return Learnt(trainer.state(), last.val_loss / math.log(2), told)


def step_seconds(trainer: Trainer, quick: bool) -> float:
    """The seconds of one step, once its graphs are made."""
    started = perf_counter()
    speed = 0.0
    for event in trainer.run():
        if isinstance(event, TrainingProgress):
            speed = event.tokens_per_second
            if perf_counter() - started > (QUICK_SPEED_SECONDS if quick else SPEED_SECONDS):
                break
    assert speed > 0, "the text is too short to measure a speed on"
    return trainer.config.batch_size * trainer.config.window / speed


def peer_bits(text: str) -> tuple[float, str]:
    """Bits per character of the same tail after the same text: the better of two, and both told."""
    tail = held_out_characters(len(text), 0.05)
    before, after = text[:-tail], text[-tail:]
    model = KneserNey(before, ORDER, alphabet=len(set(text)))
    found = {
        f"{ORDER}-grams (interpolated Kneser-Ney, whole context)": model.bits_per_char(
            after, before
        ),
        "xz -9e (bytes that the tail adds)": (packed(text) - packed(before)) * 8 / tail,
    }
    told = ", ".join(f"{name} {bits:.3f}" for name, bits in found.items())
    return min(found.values()), f"peer: the better of {told}"


def packed(text: str) -> int:
    """The bytes that xz makes of a text."""
    return len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def written(learnt: Learnt, prompt: str, count: int) -> Iterator[str]:
    """Texts of the network, with what they begin from."""
    state = learnt.state
    vocabulary = Vocabulary(state.characters, state.words)
    ids = vocabulary.encode(prompt)
    requests = [
        SamplingRequest(ids, WRITTEN_CHARACTERS, TEMPERATURE, None, None, seed)
        for seed in range(count)
    ]
    for drawn in Sampler(state.weights, state.network).generate(requests):
        yield prompt + vocabulary.decode(drawn)


def alphabet_row(corpus: Corpus, learnt: Learnt, count: int) -> Row:
    """The share of written characters that the text has: the vocabulary is padded, and masked."""
    known = frozenset(corpus.text)
    texts = list(written(learnt, corpus.text[:60], count))
    share = sum(c in known for text in texts for c in text) / sum(map(len, texts))
    told = f"{learnt.told}; {count} texts of {WRITTEN_CHARACTERS} characters at {TEMPERATURE}"
    peer = "peer: the text itself; met only at 1"
    return row(
        "corpora/hongloumeng_alphabet", [share], [1.0], "share", 1, f"{told}; {peer}",
        more_is_better=True,
    )  # fmt: skip


def tunes_row(corpus: Corpus, learnt: Learnt, count: int) -> Row | None:
    """The share of whole tunes that a parser of ABC accepts; None where there is no parser."""
    parser = parser_version()
    if parser is None:
        sys.stdout.write(
            "corpora/nottingham_tunes is not measured: music21 is missing "
            "(pip install -r benchmarks/requirements.txt)\n"
        )
        return None
    own = tunes(corpus.text)[-count:]
    texts = written(learnt, "X: 1\nT:", count)
    made = [found[0] for text in texts if len(found := tunes(text)) > 1]
    if not made:
        sys.stdout.write("corpora/nottingham_tunes is not measured: no tune came to its end\n")
        return None
    theirs, ours = accepted(own), accepted(made)
    told = (
        f"{learnt.told}; {len(made)} of {count} texts at {TEMPERATURE} hold a whole tune; "
        f"accepted: {parser} reads it without an error or a warning, in {PARSER_SECONDS} s, and "
        f"finds a bar and eight notes or more (it forgives much: of 11 tunes with every twentieth "
        f"character wrong it took 8); peer: the corpus's own last {len(own)} tunes"
    )
    return row(
        "corpora/nottingham_tunes", [ours], [theirs], "share", ACCEPTED_TARGET, told,
        more_is_better=True,
    )  # fmt: skip


def measure(options: Options) -> list[Row]:
    """A row of bits for each text that is there, and what else is asked of two of them."""
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
            corpus = Corpus(piece, f"{corpus.label}; QUICK: its last {len(piece):,} alone")
        learnt = learn(corpus, options.quick)
        bits, peer = peer_bits(corpus.text)
        rows.append(
            row(f"corpora/{name}", [learnt.bits], [bits], "bits", 1, f"{learnt.told}; {peer}")
        )
        if name == "hongloumeng":
            rows.append(alphabet_row(corpus, learnt, count))
        if name == "nottingham" and (tunes_found := tunes_row(corpus, learnt, count)):
            rows.append(tunes_found)
    return rows


if __name__ == "__main__":
    main("Corpora: four real texts, bits per character, and what is written", measure)
