"""Creates users, corpora and jobs as the API does."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import accounts, blobs
from shared.broker import Broker
from shared.clock import database_now
from shared.database import make_sessions
from shared.queue import Queue
from shared.queue.types import Submission
from shared.specs.generation import GenerateSpec
from shared.specs.presets import resolve_train
from shared.tables import Corpus, Kind, Model, User
from shared.texts.decoding import normalise
from tests.worker.queries import JobQueries

#: TensorFlow threads of every training here, because results are compared to the bit.
THREADS = 1
#: So small that an epoch takes a fraction of a second once its graph is compiled. The low rate
#: keeps a long training from stopping early.
TINY = {
    "window": 16,
    "units": 16,
    "embedding": 8,
    "batch_size": 8,
    "epochs": 2,
    "held_out": 0.1,
    "learning_rate": 4e-3,
    "sample": None,
}
WORDS = (
    "the",
    "a",
    "old",
    "grey",
    "fox",
    "dog",
    "sea",
    "ship",
    "and",
    "of",
    "under",
    "runs",
    "sings",
)


def some_text(words: int = 1200) -> str:
    """A corpus; the same on every call."""
    chosen = random.Random(7).choices(WORDS, k=words)
    return ". ".join(" ".join(chosen[i : i + 8]).capitalize() for i in range(0, words, 8))


@dataclass
class JobFactory(JobQueries):
    """Submits jobs and wakes workers for them."""

    queue: Queue
    broker: Broker
    corpora: dict[str, str] = field(default_factory=dict, kw_only=True)

    def user(self, name: str = "ada") -> str:
        """A user's id; the user is created on the first call."""
        with make_sessions(self.engine).begin() as session:
            return _user(session, name)

    def corpus(self, text: str) -> str:
        """A corpus's id; the corpus is stored on the first call."""
        if text not in self.corpora:
            normal = normalise(text)
            data = normal.data
            sha256 = blobs.store(self.engine, data)
            with make_sessions(self.engine).begin() as session:
                row = Corpus(
                    user_id=_user(session, "ada"),
                    name="text",
                    sha256=sha256,
                    encoding="utf-8",
                    bytes=len(data),
                    characters=normal.characters,
                    alphabet=normal.alphabet,
                    alphabet_lowercase=normal.alphabet_lowercase,
                    distinct_characters=len(normal.alphabet),
                    created_at=database_now(session.connection()),
                )
                session.add(row)
                session.flush()
                self.corpora[text] = row.id
        return self.corpora[text]

    def train(
        self,
        text: str | None = None,
        *,
        wake: bool = True,
        seed: int = 1,
        preset: Any = "default",
        name: str = "train",
        user: str = "ada",
        scheduling: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Submit a training of a new model. Returns the job's id.

        `scheduling` holds more fields of the `Submission`, `changes` more fields of the spec.
        """
        corpus_id = self.corpus(text or some_text())
        spec = resolve_train(preset, TINY | changes, seed=seed, threads=THREADS, shards=1)
        with make_sessions(self.engine).begin() as session:
            corpus = session.get_one(Corpus, corpus_id)
            alphabet = corpus.alphabet_lowercase if spec.lowercase else corpus.alphabet
            model = Model(
                user_id=_user(session, user),
                name="model",
                corpus_id=corpus_id,
                spec=spec.model_dump(),
                vocabulary=alphabet,
                vocabulary_size=len(alphabet),
                characters_per_token=1.0 if spec.tokenizer == "char" else None,
                created_at=database_now(session.connection()),
            )
            session.add(model)
            session.flush()
            model_id = model.id
        plain = spec.model_dump()
        return self._submit("train", plain, model_id, corpus_id, wake, name, user, scheduling)

    def generate(
        self,
        model_id: str,
        *,
        wake: bool = True,
        checkpoint: str = "best",
        prompt: str | None = "The old ",
        length: int = 40,
        temperatures: tuple[float, ...] = (0.5,),
        n: int = 1,
        seed: int = 5,
        user: str = "ada",
        name: str = "generate",
        corpus_id: str | None = None,
        scheduling: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Submit a generation. Returns the job's id.

        `scheduling` holds more fields of the `Submission`, `changes` more fields of the spec.
        """
        spec = GenerateSpec(
            checkpoint=checkpoint,
            prompt=prompt,
            length=length,
            temperatures=list(temperatures),
            n=n,
            seed=seed,
            **{"top_k": None, "top_p": None, **changes},
        )
        with make_sessions(self.engine)() as session:
            corpus_id = corpus_id or session.get_one(Model, model_id).corpus_id
        plain = spec.model_dump(mode="json")
        return self._submit("generate", plain, model_id, corpus_id, wake, name, user, scheduling)

    def _submit(
        self,
        kind: Kind,
        spec: Mapping[str, Any],
        model_id: str,
        corpus_id: str,
        wake: bool,
        name: str,
        user: str,
        scheduling: Mapping[str, Any] | None,
    ) -> str:
        submission = Submission(
            kind, self.user(user), name, dict(spec), model_id, corpus_id, **(scheduling or {})
        )
        with self.engine.begin() as connection:
            job_id = self.queue.submit(connection, submission).id
        if wake:
            assert self.broker.wake(kind, job_id)
        return job_id

    def pause(self, job_id: str) -> str:
        """Pause a job as the API does."""
        with self.engine.begin() as connection:
            return self.queue.pause(connection, job_id)

    def resume(self, job_id: str) -> None:
        """Resume a training and wake a worker, as the API does."""
        with self.engine.begin() as connection:
            self.queue.resume(connection, job_id)
        assert self.broker.wake("train", job_id)

    def cancel(self, job_id: str) -> str:
        """Cancel a job as the API does."""
        with self.engine.begin() as connection:
            return self.queue.cancel(connection, job_id)


def _user(session: Session, name: str) -> str:
    found = session.scalar(select(User.id).where(User.name == name))
    return str(found or accounts.create_user(session, name).id)
