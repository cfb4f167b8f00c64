# Written by `make client` from quire/client/aio/model.py: change that file.
"""Models that write, score and are downloaded."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr

from quire.client import replies
from quire.client.handles import take_fields, with_fields_of
from quire.client.outcome import told_of_submission
from quire.client.progress import transfer_bar
from quire.client.requests import bodies
from quire.client.requests.bodies import Temperature
from quire.client.sync.job import Generation, Scoring, job_of
from quire.client.sync.routes import Routes
from quire.client.sync.shareable import Shareable

#: The server holds a request for at most this long; after that the client polls.
WAIT_SECONDS = 10


class Model(Shareable, replies.Model):
    """A trained network, or one that is being trained."""

    _routes: Routes = PrivateAttr()

    def refresh(self) -> Self:
        """Ask the server for the model again, such as for newer checkpoints."""
        take_fields(self, self._routes.model(self.id))
        return self

    def generate(
        self,
        prompt: str | None = None,
        *,
        length: int | None = None,
        temperature: Temperature | None = None,
        seed: int | None = None,
        progress: bool | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> replies.Text:
        """Write one text, and wait for it.

        Args:
            prompt: The beginning of the text; by default a random piece of the corpus.
            length: The most characters to write; words and punctuation marks of a word model.
            temperature: 0 takes the likeliest character always, 1 follows the probabilities as
                learned, more is wilder. A pair goes from one to the other over the text.
            seed: The same seed gives the same text; random by default.
            progress: Whether to show a bar; by default on a terminal and in a notebook.
            timeout: How many seconds to wait at most.
            options: Further arguments of `submit`: `top_k`, `stop`, `checkpoint`, …

        Raises:
            ApiError: The server refused the request.
            JobFailed: The job failed.
            WaitTimeout: The job has not ended in time, and goes on.
        """
        bodies.refuse_several(temperature, options)
        with told_of_submission():
            job = self.submit(
                prompt,
                length=length,
                temperature=temperature,
                seed=seed,
                wait_seconds=WAIT_SECONDS,
                **options,
            )
        [text] = job.result(timeout, progress=progress)
        return text

    def generate_many(
        self,
        prompt: str | None = None,
        *,
        n: int = 1,
        temperature: Temperature | Sequence[Temperature] | None = None,
        progress: bool | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> list[replies.Text]:
        """Write several texts in one job: `n` for each of the temperatures.

        The other arguments and the errors are those of `generate`.
        """
        with told_of_submission():
            job = self.submit(
                prompt, n=n, temperature=temperature, wait_seconds=WAIT_SECONDS, **options
            )
        return job.result(timeout, progress=progress)

    def stream(
        self,
        prompt: str | None = None,
        *,
        length: int | None = None,
        temperature: Temperature | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> Iterator[str]:
        """Write one text, and yield its pieces while they are written.

        The pieces follow the prompt, which comes first with `echo=True`. The arguments and the
        errors are those of `generate`. A stream that is left early leaves its job running.
        """
        bodies.refuse_several(temperature, options)
        job = self.submit(prompt, length=length, temperature=temperature, seed=seed, **options)
        if options.get("echo") and prompt:
            yield prompt
        yield from job.pieces()

    def submit(
        self,
        prompt: str | None = None,
        *,
        length: int | None = None,
        temperature: Temperature | Sequence[Temperature] | None = None,
        n: int | None = None,
        seed: int | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
        stop: str | Sequence[str] | None = None,
        echo: bool | None = None,
        logprobs: bool | None = None,
        unknown: str | None = None,
        checkpoint: replies.Checkpoint | str | None = None,
        name: str | None = None,
        priority: str | None = None,
        after: replies.Job | str | None = None,
        start_before: datetime | str | None = None,
        deadline_seconds: float | None = None,
        wait_seconds: int | None = None,
        **fields: Any,
    ) -> Generation:
        """Submit a generation without waiting for its texts.

        Args:
            prompt: As for `generate`.
            length: As for `generate`.
            temperature: As for `generate`, or a list: each gets its own texts.
            n: Texts for each temperature.
            seed: As for `generate`.
            top_k: Draw from the k likeliest tokens only.
            top_p: Draw from the likeliest tokens whose probabilities reach p.
            repetition_penalty: Makes the tokens that were just written less likely.
            stop: Ends a text before this, or before one of these.
            echo: Whether each text includes the prompt.
            logprobs: Whether each text tells its tokens' log-probabilities.
            unknown: `error`, `skip` or `replace` a character that the model does not know.
            checkpoint: `best`, `latest`, or a checkpoint of the model.
            name: The job's name; the model's by default.
            priority: `high`, `normal` or `low` among one's own jobs.
            after: A job of one's own that it waits for.
            start_before: Fails the job if it has not started by then.
            deadline_seconds: Fails the job after it has run this long.
            wait_seconds: How long the server may hold the answer until the texts are there.
            fields: Further fields of ``POST /v1/generate``.

        Raises:
            ApiError: The server refused the request.
        """
        body = {
            **fields,
            **bodies.given(
                prompt=prompt,
                length=length,
                temperature=bodies.temperatures(temperature),
                n=n,
                seed=seed,
                top_k=top_k,
                top_p=top_p,
                repetition_penalty=repetition_penalty,
                stop=stop if stop is None or isinstance(stop, str) else list(stop),
                echo=echo,
                logprobs=logprobs,
                unknown=unknown,
                checkpoint=bodies.checkpoint_name(checkpoint),
                name=name,
            ),
            **bodies.scheduling(priority, after, start_before, deadline_seconds),
            "model": self.id,
        }
        reply = self._routes.submit_generation(body, wait_seconds)
        return job_of(Generation, self._routes, reply)

    def score(
        self,
        text: str | None = None,
        *,
        corpus: replies.Corpus | str | None = None,
        checkpoint: replies.Checkpoint | str | None = None,
        logprobs: bool | None = None,
        unknown: str | None = None,
        progress: bool | None = None,
        timeout: float | None = None,
    ) -> replies.Text:
        """Say how likely the model finds a text: `bits_per_char`, of which fewer are likelier.

        Args:
            text: The text.
            corpus: A corpus of the server instead, however long it is.
            checkpoint: `best`, `latest`, or a checkpoint of the model.
            logprobs: Whether to tell the log-probability of each token.
            unknown: `error`, `skip` or `replace` a character that the model does not know.
            progress: Whether to show a bar; by default on a terminal and in a notebook.
            timeout: How many seconds to wait at most.

        Raises:
            ApiError: The server refused the request.
            JobFailed: The job failed.
            WaitTimeout: The job has not ended in time, and goes on.
        """
        body = bodies.given(
            model=self.id,
            text=text,
            corpus=corpus.id if isinstance(corpus, replies.Corpus) else corpus,
            checkpoint=bodies.checkpoint_name(checkpoint),
            logprobs=logprobs,
            unknown=unknown,
        )
        with told_of_submission():
            reply = self._routes.submit_score(body, WAIT_SECONDS)
        job = job_of(Scoring, self._routes, reply)
        return job.result(timeout, progress=progress)

    def download(
        self,
        path: str | Path,
        *,
        checkpoint: replies.Checkpoint | str = "best",
        progress: bool | None = None,
    ) -> Path:
        """Write the safetensors file of a checkpoint, completely or not at all.

        Args:
            path: The file to write; one that exists is replaced.
            checkpoint: `best`, `latest`, or a checkpoint of the model.
            progress: Whether to show a bar; by default on a terminal and in a notebook.

        Returns:
            The path of the file.

        Raises:
            ApiError: There is no such checkpoint.
            OSError: The file can't be written.
        """
        target = Path(path).expanduser()
        reference = bodies.checkpoint_name(checkpoint) or "best"
        found = self._routes.checkpoint_of_model(self.id, reference)
        with transfer_bar(target.name, progress) as on_progress:
            self._routes.download_checkpoint(found.id, target, on_progress)
        return target

    def checkpoint(self, reference: str = "best") -> replies.Checkpoint:
        """Get a checkpoint: `best`, `latest`, or one given by its id."""
        return self._routes.checkpoint_of_model(self.id, reference)

    def list_checkpoints(self) -> Iterator[replies.Checkpoint]:
        """List the checkpoints, newest first. `checkpoints` has the ids of `best` and `latest`."""
        return self._routes.checkpoints(self.id)

    def texts(self) -> Iterator[replies.Text]:
        """List the texts that the model has written for you, newest first."""
        return self._routes.texts(model=self.id)

    def update(self, **changes: Any) -> Self:
        """Change fields of the model, as ``PATCH /v1/models/{id}`` takes them."""
        take_fields(self, self._routes.update_model(self.id, changes))
        return self

    def delete(self) -> None:
        """Delete the model and its checkpoints."""
        self._routes.delete_model(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.id}>"

    __str__ = __repr__


def model_of(routes: Routes, reply: replies.Model) -> Model:
    """Return a model that can do something."""
    model = with_fields_of(Model, reply)
    model._routes = routes
    return model
