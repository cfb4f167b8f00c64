"""Trainings that begin from a checkpoint, end by a budget, or explode, on real workers."""

from typing import Any

from shared.clock import database_now
from shared.database import make_sessions
from shared.presets import resolve_train
from shared.records import Submission
from shared.tables import Corpus, Model
from tests.worker.world import THREADS, TINY, World, some_text

GREEK = some_text() + ". Κύματα, κύματα: ἡ θάλασσα. " * 20

#: A rate at which the classic recipe's optimizer explodes.
WILD = {
    "learning_rate": 1.0,
    "optimizer": "rmsprop",
    "schedule": "constant",
    "clip_norm": None,
    "average_decay": None,
    "patience": None,
}


def test_another_text_with_new_characters_is_learnt_from_there(world: World) -> None:
    with world.worker():
        first = world.train()
        world.succeeded(first)
        checkpoint = world.checkpoints(first)[-1]
        second = begin_from(world, checkpoint.id, GREEK, epochs=2)
        job = world.succeeded(second)
        began = world.event(second, "began_from")
        assert (began["checkpoint"], began["goes_on"]) == (checkpoint.id, False)
        assert job.model_id is not None
        text = world.generate(job.model_id, prompt="Κύμα", temperatures=(1.0,))
        world.succeeded(text)
        assert world.texts(text)[0].prompt == "Κύμα"


def test_the_same_text_at_a_constant_rate_goes_on(world: World) -> None:
    numbers = {"schedule": "constant", "patience": None}
    with world.worker():
        whole, half = world.train(epochs=4, **numbers), world.train(epochs=2, **numbers)
        for job_id in (whole, half):
            world.succeeded(job_id)
        checkpoint = world.checkpoints(half)[-1]
        second = begin_from(world, checkpoint.id, some_text(), epochs=2, **numbers)
        world.succeeded(second)
        assert world.event(second, "began_from")["goes_on"] is True
        assert world.checkpoints(second)[-1].digest == world.checkpoints(whole)[-1].digest


def test_a_budget_ends_a_training_and_an_explosion_keeps_its_best(world: World) -> None:
    with world.worker():
        budget = world.train(epochs=None, budget={"seconds": 2})
        job = world.succeeded(budget)
        assert job.progress is not None
        assert job.progress["step"] == job.progress["steps_total"] > 0
        wild = world.train(epochs=40, **WILD)
        ended = world.ended(wild)
        assert world.count(wild, "rolled_back") >= 1
        rate = world.event(wild, "rolled_back")["learning_rate"]
        assert rate == 0.5
        assert ended.status in ("succeeded", "failed")
        if ended.status == "failed":
            assert ended.error is not None
            assert ended.error["type"] == "/problems/diverged"
        assert world.checkpoints(wild), "the best is kept"


def begin_from(world: World, checkpoint_id: str, text: str, **changes: Any) -> str:
    """Submit a training that begins from a checkpoint, as the API does; the job's id."""
    corpus_id = world.corpus(text)
    spec = resolve_train("default", TINY | changes, seed=1, threads=THREADS, shards=1)
    known = "".join(sorted(set(some_text())))
    with make_sessions(world.engine).begin() as session:
        alphabet = session.get_one(Corpus, corpus_id).alphabet
        vocabulary = known + "".join(sorted(set(alphabet) - set(known)))
        model = Model(
            user_id=world.user_in(session),
            name="second",
            corpus_id=corpus_id,
            spec=spec.model_dump(),
            vocabulary=vocabulary,
            vocabulary_size=len(vocabulary),
            characters_per_token=1.0,
            from_checkpoint_id=checkpoint_id,
            created_at=database_now(session.connection()),
        )
        session.add(model)
        session.flush()
        model_id = model.id
    submission = Submission("train", world.user(), "train", spec.model_dump(), model_id, corpus_id)
    with world.engine.begin() as connection:
        job_id = world.queue.submit(connection, submission)
    assert world.broker.wake("train", job_id)
    return job_id
