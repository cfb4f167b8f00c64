# Written by `make client` from quire/client/aio/client.py: change that file.
"""The client for notebooks and scripts: jobs, models and corpora that can do something."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

from quire.client import replies
from quire.client.progress import transfer_bar
from quire.client.requests import bodies
from quire.client.requests.sources import Paths, read_source, stored_sha256
from quire.client.requests.uploads import Data
from quire.client.sync.corpus import Corpus, corpus_of
from quire.client.sync.job import Generation, Scoring, job_of
from quire.client.sync.model import Model, model_of
from quire.client.sync.routes import Routes
from quire.client.sync.training import Training
from quire.errors import NotFound

#: A job of any kind.
AnyJob = Training | Generation | Scoring


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


class Client(Routes):
    """A client of one Quire server, which is best used in a ``with`` block.

    Every method raises `ApiError` when the server refuses a request, and `ServerUnreachable`
    when it does not answer. Requests are repeated where that is safe: a POST carries an
    Idempotency-Key, so that nothing is made twice. Lists are iterators that fetch further pages as
    needed.

    Args:
        url: The server's address, such as ``http://127.0.0.1:8420``; by default QUIRE_URL's, or
            that of the saved login.
        key: An API key; by default that of QUIRE_KEY or QUIRE_API_KEY, or of the saved login.
        timeout: How many seconds to wait for an answer. Uploads and waits have longer ones.
        verify: Whether the server's certificate is checked; or a PEM file of authorities to trust
            beside the machine's, by default QUIRE_CA's; or a context.

    Raises:
        NotLoggedIn: There is no server, or no key for it.
        InvalidInput: An argument, or what the environment says, can't be used.
    """

    def train(
        self,
        source: Paths | replies.Corpus | None = None,
        *,
        text: str | None = None,
        preset: str | None = None,
        seconds: float | None = None,
        epochs: int | None = None,
        name: str | None = None,
        start_from: replies.Model | replies.Checkpoint | str | None = None,
        tokenizer: str | None = None,
        holdout: str | None = None,
        sample: bool | Mapping[str, Any] | None = None,
        seed: int | None = None,
        visibility: str | None = None,
        encoding: str | None = None,
        on_invalid: str | None = None,
        normalize: str | None = None,
        items: str | None = None,
        separator: str | None = None,
        column: str | None = None,
        priority: str | None = None,
        after: replies.Job | str | None = None,
        start_before: datetime | str | None = None,
        deadline_seconds: float | None = None,
        progress: bool | None = None,
        **numbers: Any,
    ) -> Training:
        """Train a model, and return the job without waiting for it.

        A single text that the server has already, under the same name, is not uploaded again.

        Args:
            source: What to learn from: a path, several or a folder, which are put together, or a
                corpus of the server.
            text: The text itself, instead of a path.
            preset: `default`, `classic`, or `large` (for a GPU).
            seconds: How many seconds to train, instead of `epochs`.
            epochs: How many times to go through the text.
            name: The name of the model; by default that of the file.
            start_from: A checkpoint, or a model whose best checkpoint is taken: go on from there,
                on the same text or another.
            tokenizer: `char` or `word`.
            holdout: `spread` or `tail`: which part of the text judges the training.
            sample: False for no sample texts, or how they are written (`sample` of the API).
            seed: The same seed and `epochs` give the same model on a CPU.
            visibility: `private` or `server`.
            encoding: The encoding of the files; by default by a byte order mark, else UTF-8.
            on_invalid: `replace` or `drop` bytes that are not in the encoding.
            normalize: `nfc` or `nfd`.
            items: `lines`, `blank`, `separator`, `column` or `files`: how a list is cut into items.
            separator: What stands between two items.
            column: The column with the items.
            priority: `high`, `normal` or `low` among one's own jobs.
            after: A job of one's own that this one waits for.
            start_before: Fails the job if it has not started by then.
            deadline_seconds: Fails the job after it has run this long.
            progress: Whether an upload shows a bar; by default on a terminal and in a notebook.
            numbers: Any other number of the preset, such as `units=128`.

        Raises:
            InvalidInput: A file can't be read, or an argument can't be sent.
            ApiError: The server refused the upload or the training.
        """
        body = bodies.training(
            numbers,
            seconds=seconds,
            sample=sample,
            preset=preset,
            name=name,
            epochs=epochs,
            tokenizer=tokenizer,
            holdout=holdout,
            seed=seed,
            visibility=visibility,
        )
        body |= bodies.scheduling(priority, after, start_before, deadline_seconds)
        if start_from is not None:
            body["from"] = bodies.checkpoint_to_start_from(start_from)
        reading = bodies.given(
            encoding=encoding,
            on_invalid=on_invalid,
            normalize=normalize,
            items=items,
            separator=separator,
            column=column,
        )
        body["corpus"] = (self._corpus_of(source, text, name, reading, progress)).id
        return job_of(Training, self, self.submit_training(body))

    def upload(
        self,
        source: Paths | None = None,
        *,
        text: str | None = None,
        name: str | None = None,
        encoding: str | None = None,
        visibility: str | None = None,
        on_invalid: str | None = None,
        normalize: str | None = None,
        items: str | None = None,
        separator: str | None = None,
        column: str | None = None,
        progress: bool | None = None,
    ) -> Corpus:
        """Upload a corpus to train on. The arguments are those of `train`.

        Files are read while they are sent, so that a large one is never in memory as a whole.

        Raises:
            InvalidInput: A file can't be read, or an argument can't be sent.
            ApiError: The server refused the text; `code` and `ways` say why, and what helps.
        """
        own_name, data = read_source(source, text)
        reading = bodies.given(
            encoding=encoding,
            visibility=visibility,
            on_invalid=on_invalid,
            normalize=normalize,
            items=items,
            separator=separator,
            column=column,
        )
        return self._upload_source(data, name or own_name, reading, progress)

    def models(self, name: str | None = None, **options: Any) -> Iterator[Model]:
        """List the models that this key may use, newest first; of `name` or all."""
        return self._as_models(super().models(name, **options))

    def model(self, reference: str) -> Model:
        """Get a model by its name or id; of several of that name, the newest.

        Raises:
            NotFound: There is none.
        """
        if _is_id(reference):
            return model_of(self, super().model(reference))
        return _newest("model", "models()", reference, self.models)

    def corpora(self, name: str | None = None, **options: Any) -> Iterator[Corpus]:
        """List the corpora that this key may read, newest first; of `name` or all."""
        return self._as_corpora(super().corpora(name, **options))

    def corpus(self, reference: str) -> Corpus:
        """Get a corpus by its name or id; of several of that name, the newest.

        Raises:
            NotFound: There is none.
        """
        if _is_id(reference):
            return corpus_of(self, super().corpus(reference))
        return _newest("corpus", "corpora()", reference, self.corpora)

    def jobs(self, **filters: str | None) -> Iterator[AnyJob]:
        """List your jobs, newest first.

        Args:
            filters: kind, status, model or name.
        """
        return self._as_jobs(super().jobs(**filters))

    def job(self, job_id: str) -> AnyJob:
        """Get a job by its id."""
        return _any_job(self, super().job(job_id))

    def _corpus_of(
        self,
        source: Paths | replies.Corpus | None,
        text: str | None,
        name: str | None,
        reading: Mapping[str, str],
        progress: bool | None,
    ) -> replies.Corpus:
        """Return the corpus that a training learns from, uploaded unless it is there."""
        if isinstance(source, replies.Corpus):
            if text is None and not reading:
                return source
            bodies.refuse_with_corpus("text" if text is not None else next(iter(reading)))
        own_name, data = read_source(source, text)
        corpus_name = name if text is not None and name else own_name
        sha256 = None if reading else stored_sha256(data)
        if sha256 is not None:
            for corpus in self.corpora(corpus_name):
                if corpus.name == corpus_name and corpus.sha256 == sha256:
                    return corpus
        return self._upload_source(data, corpus_name, reading, progress)

    def _upload_source(
        self, data: Data, name: str, reading: Mapping[str, str], progress: bool | None
    ) -> Corpus:
        with transfer_bar(name, progress) as on_progress:
            reply = self.upload_corpus(data, name=name, on_progress=on_progress, **reading)
        return corpus_of(self, reply)

    def _as_models(self, listed: Iterator[replies.Model]) -> Iterator[Model]:
        for reply in listed:
            yield model_of(self, reply)

    def _as_corpora(self, listed: Iterator[replies.Corpus]) -> Iterator[Corpus]:
        for reply in listed:
            yield corpus_of(self, reply)

    def _as_jobs(self, listed: Iterator[replies.Job]) -> Iterator[AnyJob]:
        for reply in listed:
            yield _any_job(self, reply)


def _any_job(client: Routes, reply: replies.Job) -> AnyJob:
    if reply.kind == "train":
        return job_of(Training, client, reply)
    if reply.spec.get("score"):
        return job_of(Scoring, client, reply)
    return job_of(Generation, client, reply)


def _is_id(reference: str) -> bool:
    try:
        uuid.UUID(reference)
    except ValueError:
        return False
    return True


def _newest(resource: str, listing: str, name: str, listed: Callable[[str], Iterator[N]]) -> N:
    for each in listed(name):
        if each.name == name:
            return each
    raise NotFound(f"no {resource} is called {name!r}: {listing} lists them")
