"""Words from submit to text, texts after every N steps, and what a text has from its corpus."""

import math
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, select

from shared.database import make_sessions
from shared.specs.presets import MAX_EPOCH_SAMPLES
from shared.tables import BlobChunk, Corpus, Metric, Model
from tests.worker.harness import Worker, World, some_text, until
from worker.data import checkpoints
from worker.data.corpora import Corpora
from worker.ml.words import PIECES

pytestmark = pytest.mark.slow

DIALOGUE = """\
"Hello Tom, how are you?"
"I'm fine, Ann, and you?"
"Not bad. Is that your dog?"
"Yes, he is with me, and he is hungry."
"""
WORDS: dict[str, Any] = {"tokenizer": "word", "window": 12, "held_out": 0.1}


def words_in(text: str) -> set[str]:
    return {piece.strip() for piece in PIECES.findall(text)}


def model_of(world: World, job_id: str) -> Model:
    with make_sessions(world.engine)() as session:
        return session.get_one(Model, world.job(job_id).model_id)


@pytest.fixture(scope="module")
def worker(world: World) -> Iterator[Worker]:
    with world.worker() as worker:
        yield worker


def test_words_predict_the_next_word_and_make_known_sentences(world: World, worker: Worker) -> None:
    text = DIALOGUE * 60
    job_id = world.train(text, **WORDS, epochs=12, learning_rate=0.02)
    before = model_of(world, job_id)
    job = world.succeeded(job_id)
    model = model_of(world, job_id)
    assert before.characters_per_token in (None, model.characters_per_token)
    saved = world.checkpoints(job_id)[-1]
    state = checkpoints.load(world.engine, saved.sha256)
    assert {" Tom", " you", " hungry"} <= set(state.words)
    assert model.vocabulary_size == len(state.characters) + len(state.words)
    assert model.characters_per_token
    assert 2.5 < model.characters_per_token < 5

    assert job.progress is not None
    assert saved.val_loss is not None
    bits = saved.val_loss / model.characters_per_token / math.log(2)
    assert job.progress["bits_per_char"] == pytest.approx(bits)
    with make_sessions(world.engine)() as session:
        query = select(Metric).where(Metric.job_id == job_id).order_by(Metric.step.desc())
        last = session.scalars(query.limit(1)).one()
    assert last.bits_per_char == pytest.approx(bits)

    asked = world.generate(model.id, prompt='"Hello Tom', length=60, temperatures=(0.2, 0.5))
    for text_row in world.texts(world.succeeded(asked).id):
        assert words_in(text_row.text) <= words_in(text)
        assert len(PIECES.findall(text_row.text)) == 60
        assert text_row.text.startswith(", how are you?")
        assert text_row.copied_characters is not None
        assert text_row.copied_characters >= len(", how are you?")
        assert text_row.known_grams is not None
        assert text_row.known_grams > 0.5
    spelled = world.succeeded(world.generate(model.id, prompt="Htam hungry dogs", length=5))
    assert world.texts(spelled.id)[0].prompt == "Htam hungry dogs"
    pieces = world.texts(world.succeeded(world.generate(model.id, prompt=None, n=4)).id)
    for text_row in pieces:
        assert text_row.prompt in text
        assert words_in(text_row.prompt) <= words_in(text)


def test_texts_after_every_so_many_steps_are_kept_beside_those_of_epochs(
    world: World, worker: Worker
) -> None:
    sample = {"length": 15, "temperatures": [0.0, 0.5, 1.0], "every_steps": 7, "every_epochs": 2}
    job = world.succeeded(world.train(sample=sample, epochs=3))
    assert job.progress is not None
    total = job.progress["steps_total"]
    texts = world.texts(job.id)
    expected = sorted({*range(7, total + 1, 7), 2 * total // 3, total})
    assert [(text.step, text.position) for text in texts] == [
        (step, position) for step in expected for position in range(3)
    ]
    ends = {row.step: row.id for row in world.checkpoints(job.id)}
    for text in texts:
        assert text.epoch == pytest.approx(3 * text.step / total)
        assert not text.requested
        assert text.temperature == sample["temperatures"][text.position]  # type: ignore[index]
        assert text.checkpoint_id == ends.get(text.step)
        assert text.copied_characters is not None
        assert text.text[text.copied_at or 0 :][: text.copied_characters] in some_text()
        assert text.known_grams is not None
    undisturbed = world.succeeded(world.train(epochs=3))
    digests = [world.checkpoints(each.id)[-1].digest for each in (job, undisturbed)]
    assert digests[0] == digests[1]


def test_a_training_of_many_epochs_writes_after_some_of_them_and_at_its_end(
    world: World, worker: Worker
) -> None:
    epochs = 2 * MAX_EPOCH_SAMPLES + 4
    sample = {"length": 5, "temperatures": [0.5]}
    job_id = world.train(some_text(200), epochs=epochs, patience=None, sample=sample)
    until(lambda: world.texts(job_id), "a text")
    os.kill(world.child("train"), signal.SIGKILL)
    job = world.succeeded(job_id, seconds=90)
    assert job.attempt == 2
    assert [text.epoch for text in world.texts(job_id)] == [*range(3, epochs, 3), epochs]


def test_a_killed_training_on_words_goes_on_with_the_same_words(
    world: World, worker: Worker
) -> None:
    text = some_text(4000)
    numbers = {**WORDS, "vocabulary_limit": 16, "epochs": 40}
    undisturbed = world.succeeded(world.train(text, **numbers))
    job_id = world.train(text, **numbers)
    world.first_checkpoint(job_id)
    os.kill(world.child("train"), signal.SIGKILL)
    job = world.succeeded(job_id, seconds=90)
    assert job.attempt == 2
    assert world.event(job_id, "resumed")["step"] > 0
    digests = [world.checkpoints(each.id)[-1].digest for each in (undisturbed, job)]
    assert digests[0] == digests[1]


def test_a_short_text_of_words_fails_and_says_what_it_needs(world: World, worker: Worker) -> None:
    job = world.ended(world.train(DIALOGUE, **WORDS, wake=True))
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "/problems/text-too-short"
    assert "needs at least 130" in job.error["detail"]


def test_a_text_is_written_without_its_novelty_where_the_corpus_is_gone(
    world: World, worker: Worker
) -> None:
    training = world.succeeded(world.train(some_text(700), epochs=1))
    assert training.model_id
    with world.engine.begin() as connection:
        query = select(Corpus.sha256).where(Corpus.id == training.corpus_id)
        sha256 = connection.scalars(query).one()
        connection.execute(delete(BlobChunk).where(BlobChunk.sha256 == sha256))
    with world.worker(host="there"):
        worker.stop()
        job = world.succeeded(world.generate(training.model_id))
    [text] = world.texts(job.id)
    assert len(text.text) == 40
    assert (text.copied_characters, text.known_grams) == (None, None)


def test_indexes_are_kept_while_they_fit_and_left_out_where_they_never_will(
    world: World,
) -> None:
    texts = [some_text(words) for words in (300, 310, 5000)]
    ids = [world.corpus(text) for text in texts]
    corpora = Corpora(world.engine, indexed_characters=len(texts[0]) + len(texts[1]))
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
