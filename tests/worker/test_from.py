"""Trainings that begin from a checkpoint, end by a budget, or explode, on real workers."""

import random
from typing import Any

from shared.aliases import resolve
from shared.clock import database_now
from shared.database import make_sessions
from shared.presets import resolve_train
from shared.records import Submission
from shared.tables import Corpus, Job, Model
from tests.worker.world import THREADS, TINY, World, some_text, until

GREEK = some_text() + ". Κύματα, κύματα: ἡ θάλασσα. " * 20

#: Coins: nothing to learn, so that whoever steps too far is wrong half of the time.
COINS = "".join(random.Random(7).choices("ab", k=6000))
#: The classic recipe's optimizer, which nothing holds back.
CALM = {
    "units": 64,
    "optimizer": "rmsprop",
    "schedule": "constant",
    "clip_norm": None,
    "average_decay": None,
    "patience": None,
}
#: A rate at which that explodes, even after three halvings.
WILD = {"learning_rate": 1.0}


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


def test_a_budget_ends_a_training(world: World) -> None:
    with world.worker():
        job = world.succeeded(world.train(epochs=None, budget={"seconds": 2}))
        assert job.progress is not None
        assert job.progress["step"] == job.progress["steps_total"] > 0


def test_after_three_explosions_a_job_fails_and_keeps_its_best(world: World) -> None:
    with world.worker():
        job_id = world.train(COINS, epochs=500, **CALM)
        until(lambda: len(judged(world, job_id)) > 1, "two validations")
        world.pause(job_id)
        until(lambda: world.job(job_id).status == "paused", "the pause")
        best = min(judged(world, job_id), key=lambda each: (each.val_loss, -each.step))
        # From here on no network survives a step, as where a text turns out to be another.
        respecify(world, job_id, **WILD)
        world.resume(job_id)
        job = world.ended(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "/problems/diverged"
    back = world.told(job_id, "rolled_back", job.attempt)
    assert [event["rollbacks"] for event in back] == [1, 2, 3]
    assert [event["learning_rate"] for event in back] == [0.5, 0.25, 0.125]
    assert {event["back_to"] for event in back} == {best.step}
    assert job.model_id is not None
    with world.engine.connect() as connection:
        assert resolve(connection, job.model_id, "best") == best.id


def judged(world: World, job_id: str) -> list[Any]:
    """The checkpoints of a training that have a validation loss."""
    return [each for each in world.checkpoints(job_id) if each.val_loss is not None]


def respecify(world: World, job_id: str, **numbers: Any) -> None:
    """Change the numbers of a job that waits."""
    with make_sessions(world.engine).begin() as session:
        job = session.get_one(Job, job_id)
        job.spec = job.spec | numbers


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
