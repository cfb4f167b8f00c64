"""A list: preset `default` after a fixed time on the Nottingham tunes as items.

Their numbers are left out, since two equal tunes have different ones.
"""

import sys

from benchmarks.support.abc_tunes import PARSER_SECONDS, accepted, parser_version, tunes
from benchmarks.support.harness import Corpus, Options, Row, find_corpus, main, row
from shared.specs.presets import fit_to_items, resolve_train
from worker.ml.checkpoint import TrainingState
from worker.ml.config import ITEM_BEGIN, ITEM_END, TrainConfig
from worker.ml.runtime import configure
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sampler import Sampler
from worker.ml.training.progress import Validated
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize

THREADS = 2
SEED = 1
SECONDS, QUICK_SECONDS = 90.0, 5.0
WRITTEN, QUICK_WRITTEN = 200, 10
WRITTEN_CHARACTERS = 1500
TEMPERATURE = 0.5
#: The most copies that a list of a thousand tunes should give.
COPIES_LIMIT = 0.05
ACCEPTED_TARGET = 0.95


def learn(items: list[str], seconds: float) -> TrainingState:
    """Train preset `default` on a list with a budget of seconds; return the best checkpoint."""
    vocabulary, ids = vectorize("".join(f"{ITEM_BEGIN}{item}{ITEM_END}" for item in items))
    changes = {"budget": {"seconds": seconds}}
    spec = resolve_train("default", changes, seed=SEED, threads=THREADS, shards=THREADS)
    spec = fit_to_items(spec, max(map(len, items)), ())
    config = TrainConfig.from_spec(spec.model_dump(), len(vocabulary))
    trainer = Trainer(config, ids, vocabulary)
    best = trainer.state()
    for event in trainer.run():
        if isinstance(event, Validated) and event.best:
            best = trainer.state()
    return best


def written(state: TrainingState, count: int) -> list[str]:
    """Generate items from their beginning; those that reach their end."""
    vocabulary = state.vocabulary
    begin = vocabulary.encode(ITEM_BEGIN)
    requests = [
        SamplingRequest(begin, WRITTEN_CHARACTERS, TEMPERATURE, None, None, seed)
        for seed in range(count)
    ]
    texts = map(vocabulary.decode, Sampler(state.weights, state.network).generate(requests))
    return [text.partition(ITEM_END)[0] for text in texts if ITEM_END in text]


def measure(options: Options) -> list[Row]:
    """Measure the share of copies and, where there is a parser, of tunes that it accepts."""
    configure(threads=THREADS, device="cpu")
    corpus = find_corpus("nottingham")
    if corpus is None:
        sys.stdout.write("items/… is not measured: QUIRE_CORPUS_DIR has no nottingham\n")
        return []
    return _rows(corpus, options.quick)


def _rows(corpus: Corpus, quick: bool) -> list[Row]:
    items = [tune.partition("\n")[2] for tune in tunes(corpus.text)]
    seconds, count = (QUICK_SECONDS, QUICK_WRITTEN) if quick else (SECONDS, WRITTEN)
    made = written(learn(items, seconds), count)
    if not made:
        sys.stdout.write("items/… is not measured: no item has reached its end\n")
        return []
    known = set(items)
    description = (
        f"{corpus.label}, {len(items):,} items; ours: preset default with a budget of {seconds:g} "
        f"s; of {count} items at {TEMPERATURE}, {len(made)} end within {WRITTEN_CHARACTERS:,} "
        f"characters, {len(set(made))} of them different"
    )
    if quick:
        description += "; QUICK: a part of the time"
    copies = sum(item in known for item in made) / len(made)
    limit = f"instead of a peer, the limit is {COPIES_LIMIT:g}"
    rows = [
        row(
            "items/nottingham_new", [1 - copies], [1 - COPIES_LIMIT], "share", 1,
            f"share that are no item of the corpus; {description}; {limit} of copies",
            more_is_better=True,
        )
    ]  # fmt: skip
    parser = parser_version()
    if parser is None:
        sys.stdout.write(
            "items/nottingham_accepted is not measured: music21 is missing "
            "(pip install -r benchmarks/requirements.txt)\n"
        )
        return rows
    theirs, ours = (accepted([f"X:1\n{tune}" for tune in some]) for some in (items[-count:], made))
    rows.append(
        row(
            "items/nottingham_accepted", [ours], [theirs], "share", ACCEPTED_TARGET,
            f"{description}; accepted: {parser} reads it without an error or a warning, in "
            f"{PARSER_SECONDS} s; peer: the corpus's own last {count} tunes",
            more_is_better=True,
        )
    )  # fmt: skip
    return rows


if __name__ == "__main__":
    main("Items: tunes as a list", measure)
