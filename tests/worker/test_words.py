"""Trainings on words, texts sampled every N steps, and the novelty of a text."""

import math
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, select

from shared.database import make_sessions
from shared.specs.training import MAX_EPOCH_SAMPLES
from shared.tables import BlobChunk, Corpus, Metric, Model
from tests.worker.harness import Worker, WorkerHarness, some_text, until
from worker.data import checkpoints
from worker.data.corpora import Corpora
from worker.ml.words import NEWEST_RULES, RULES

pytestmark = pytest.mark.slow

DIALOGUE = """\
"Hello Tom, how are you?"
"I'm fine, Ann, and you?"
"Not bad. Is that your dog?"
"Yes, he is with me, and he is hungry."
"""
WORDS: dict[str, Any] = {"tokenizer": "word", "window": 12, "held_out": 0.1}


def words_in(text: str) -> set[str]:
    return {piece.strip() for piece in RULES[NEWEST_RULES].pieces.findall(text)}


def model_of(harness: WorkerHarness, job_id: str) -> Model:
    with make_sessions(harness.engine)() as session:
        return session.get_one(Model, harness.job(job_id).model_id)


@pytest.fixture(scope="module")
def harness(sqlite_harness: WorkerHarness) -> WorkerHarness:
    """On one database: words are the pipeline's, and its rows are those of any other training."""
    return sqlite_harness


@pytest.fixture(scope="module")
def worker(harness: WorkerHarness) -> Iterator[Worker]:
    with harness.worker() as worker:
        yield worker


def test_a_model_of_words_writes_known_sentences(harness: WorkerHarness, worker: Worker) -> None:
    text = DIALOGUE * 60
    job_id = harness.train(text, **WORDS, epochs=12, learning_rate=0.02)
    before = model_of(harness, job_id)
    job = harness.wait_until_succeeded(job_id)
    model = model_of(harness, job_id)
    assert before.characters_per_token in (None, model.characters_per_token)
    saved = harness.checkpoints(job_id)[-1]
    state = checkpoints.load(harness.engine, saved.sha256)
    assert {" Tom", " you", " hungry"} <= set(state.words)
    assert model.vocabulary_size == len(state.characters) + len(state.words)
    assert model.characters_per_token
    assert 2.5 < model.characters_per_token < 5

    assert job.progress is not None
    assert saved.val_loss is not None
    bits = saved.val_loss / model.characters_per_token / math.log(2)
    assert job.progress["bits_per_char"] == pytest.approx(bits)
    with make_sessions(harness.engine)() as session:
        query = select(Metric).where(Metric.job_id == job_id).order_by(Metric.step.desc())
        last = session.scalars(query.limit(1)).one()
    assert last.bits_per_char == pytest.approx(bits)

    asked = harness.generate(model.id, prompt='"Hello Tom', length=60, temperatures=(0.2, 0.5))
    for text_row in harness.texts(harness.wait_until_succeeded(asked).id):
        assert words_in(text_row.text) <= words_in(text)
        assert len(RULES[NEWEST_RULES].pieces.findall(text_row.text)) == 60
        assert text_row.text.startswith(", how are you?")
        assert text_row.copied_characters is not None
        assert text_row.copied_characters >= len(", how are you?")
        assert text_row.known_grams is not None
        assert text_row.known_grams > 0.5
    spelled = harness.wait_until_succeeded(
        harness.generate(model.id, prompt="Htam hungry dogs", length=5)
    )
    assert harness.texts(spelled.id)[0].prompt == "Htam hungry dogs"
    pieces = harness.texts(
        harness.wait_until_succeeded(harness.generate(model.id, prompt=None, n=4)).id
    )
    for text_row in pieces:
        assert text_row.prompt in text
        assert words_in(text_row.prompt) <= words_in(text)


def test_texts_are_sampled_every_n_steps_and_at_the_ends_of_epochs(
    harness: WorkerHarness, worker: Worker
) -> None:
    sample = {"length": 15, "temperatures": [0.0, 0.5, 1.0], "every_steps": 7, "every_epochs": 2}
    job = harness.wait_until_succeeded(harness.train(sample=sample, epochs=3))
    assert job.progress is not None
    total = job.progress["steps_total"]
    texts = harness.texts(job.id)
    expected = sorted({*range(7, total + 1, 7), 2 * total // 3, total})
    assert [(text.step, text.position) for text in texts] == [
        (step, position) for step in expected for position in range(3)
    ]
    ends = {row.step: row.id for row in harness.checkpoints(job.id)}
    for text in texts:
        assert text.epoch == pytest.approx(3 * text.step / total)
        assert not text.requested
        assert text.temperature == sample["temperatures"][text.position]  # type: ignore[index]
        assert text.checkpoint_id == ends.get(text.step)
        assert text.copied_characters is not None
        assert text.text[text.copied_at or 0 :][: text.copied_characters] in some_text()
        assert text.known_grams is not None
    uninterrupted = harness.wait_until_succeeded(harness.train(epochs=3))
    digests = [harness.checkpoints(row.id)[-1].digest for row in (job, uninterrupted)]
    assert digests[0] == digests[1]


def test_a_training_of_many_epochs_samples_after_some_of_them_and_at_its_end(
    harness: WorkerHarness, worker: Worker
) -> None:
    epochs = 2 * MAX_EPOCH_SAMPLES + 4
    sample = {"length": 5, "temperatures": [0.5]}
    job_id = harness.train(some_text(200), epochs=epochs, patience=None, sample=sample)
    until(lambda: harness.texts(job_id), "a text")
    os.kill(harness.child_pid("train"), signal.SIGKILL)
    job = harness.wait_until_succeeded(job_id, seconds=90)
    assert job.attempt == 2
    assert [text.epoch for text in harness.texts(job_id)] == [*range(3, epochs, 3), epochs]


def test_a_killed_training_on_words_resumes_with_the_same_words(
    harness: WorkerHarness, worker: Worker
) -> None:
    text = some_text(4000)
    numbers = {**WORDS, "vocabulary_limit": 16, "epochs": 40}
    uninterrupted = harness.wait_until_succeeded(harness.train(text, **numbers))
    job_id = harness.train(text, **numbers)
    harness.first_checkpoint(job_id)
    os.kill(harness.child_pid("train"), signal.SIGKILL)
    job = harness.wait_until_succeeded(job_id, seconds=90)
    assert job.attempt == 2
    assert harness.event(job_id, "resumed")["step"] > 0
    digests = [harness.checkpoints(row.id)[-1].digest for row in (uninterrupted, job)]
    assert digests[0] == digests[1]


def test_a_text_with_too_few_words_fails_and_names_the_minimum(
    harness: WorkerHarness, worker: Worker
) -> None:
    job = harness.wait_until_ended(harness.train(DIALOGUE, **WORDS, wake=True))
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "/problems/text-too-short"
    assert "needs at least 130" in job.error["detail"]


def test_a_text_is_stored_without_its_novelty_if_the_corpus_is_lost(
    harness: WorkerHarness, worker: Worker
) -> None:
    training = harness.wait_until_succeeded(harness.train(some_text(700), epochs=1))
    assert training.model_id
    with harness.engine.begin() as connection:
        query = select(Corpus.sha256).where(Corpus.id == training.corpus_id)
        sha256 = connection.scalars(query).one()
        connection.execute(delete(BlobChunk).where(BlobChunk.sha256 == sha256))
    with harness.worker(host="there"):
        worker.stop()
        job = harness.wait_until_succeeded(harness.generate(training.model_id))
    [text] = harness.texts(job.id)
    assert len(text.text) == 40
    assert (text.copied_characters, text.known_grams) == (None, None)


def test_indexes_are_cached_while_they_fit_and_skipped_if_they_never_will(
    harness: WorkerHarness,
) -> None:
    texts = [some_text(words) for words in (300, 310, 5000)]
    ids = [harness.corpus(text) for text in texts]
    corpora = Corpora(harness.engine, indexed_characters=len(texts[0]) + len(texts[1]))
    first = corpora.index(ids[0], lowercase=True)
    assert first is not None
    assert corpora.index(ids[0], lowercase=True) is first
    assert first.look_up(texts[0][:40]).copied_characters < 40
    assert first.look_up(texts[0][:40].lower()).copied_characters == 40
    assert corpora.index(ids[2], lowercase=True) is None
    assert corpora.index(ids[1], lowercase=True) is not None
    assert corpora.index(ids[0], lowercase=True) is first
    assert corpora.index(ids[0], lowercase=False) is not None
    assert corpora.index(ids[1], lowercase=True) is not None
    assert corpora.index(ids[0], lowercase=True) is not first
    assert corpora.index(None, lowercase=True) is None
