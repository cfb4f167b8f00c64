"""The HTTP client: one method for each thing that the server can do."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from cli.replies import (
    Checkpoint,
    Corpus,
    Device,
    Event,
    Job,
    Key,
    Me,
    Metric,
    Model,
    Queue,
    Reply,
    Text,
    Usage,
    User,
)
from cli.transport import READ_SECONDS, ApiError, Transport

__all__ = ["ApiError", "Client"]

PAGE_ITEMS = 100
UPLOAD_CHUNK_BYTES = 64 * 1024
#: An uploaded corpus is decoded and stored before the server answers.
UPLOAD_READ_SECONDS = 300.0

R = TypeVar("R", bound=Reply)
#: Told how many bytes of how many have passed; the total is None where it is not known.
Passed = Callable[[int, int | None], None]


class Client:
    """A Quire server.

    Every method raises `ApiError` when the server refuses, and `ServerUnreachable`
    when it does not answer. Lists are read page by page, as they are needed.

    Args:
        url: The server's address, such as ``http://127.0.0.1:8420``.
        key: An API key; the health checks work without one.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._transport = Transport(url, key)
        self.url = self._transport.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transport.close()

    # The server and its people.

    def is_alive(self) -> bool:
        """Whether the API answers."""
        return self._transport.request("GET", "/health/live").is_success

    def me(self) -> Me:
        """Who owns the key."""
        return self._get(Me, "/v1/me")

    def users(self) -> Iterator[User]:
        """Everybody (admins only)."""
        return self._list(User, "/v1/users")

    def create_user(self, name: str, role: str) -> User:
        """Make a user (admins only)."""
        return self._post(User, "/v1/users", {"name": name, "role": role})

    def keys(self, user: str) -> Iterator[Key]:
        """The keys of a user, by name or id."""
        return self._list(Key, f"/v1/users/{quote(user, safe='')}/keys")

    def create_key(self, user: str, name: str | None = None) -> Key:
        """Make a key; only this answer holds the key itself."""
        path = f"/v1/users/{quote(user, safe='')}/keys"
        made = self._post(Key, path, _given(name=name))
        if made.key is None:
            # The first answer was lost on its way and the key with it: a replay never shows it.
            self.revoke_key(made.prefix)
            made = self._post(Key, path, _given(name=name))
        return made

    def revoke_key(self, prefix: str) -> None:
        """Make a key worthless."""
        self._transport.request("DELETE", f"/v1/keys/{quote(prefix, safe='')}")

    def devices(self) -> Iterator[Device]:
        """The workers and what each holds."""
        return self._list(Device, "/v1/devices")

    # Corpora.

    def upload_corpus(
        self,
        data: bytes,
        *,
        name: str,
        encoding: str | None = None,
        visibility: str | None = None,
        passed: Passed | None = None,
    ) -> Corpus:
        """Upload a text's bytes.

        Args:
            data: The file as it is; the server decodes it.
            name: What to call it.
            encoding: The encoding of `data`; None means UTF-8.
            visibility: `private` or `server`; None leaves it to the server.
            passed: Told the bytes that were sent.
        """

        def chunks() -> Iterator[bytes]:
            for start in range(0, len(data), UPLOAD_CHUNK_BYTES):
                yield data[start : start + UPLOAD_CHUNK_BYTES]
                if passed:
                    passed(min(start + UPLOAD_CHUNK_BYTES, len(data)), len(data))

        response = self._transport.request(
            "POST",
            "/v1/corpora",
            params={"name": name, "encoding": encoding, "visibility": visibility},
            content=chunks,
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(len(data)),
            },
            read_seconds=UPLOAD_READ_SECONDS,
            idempotency_key=True,
        )
        return Corpus.model_validate(response.json())

    def corpora(self, name: str | None = None) -> Iterator[Corpus]:
        """The corpora this key may see, newest first."""
        return self._list(Corpus, "/v1/corpora", name=name)

    def corpus(self, corpus_id: str) -> Corpus:
        """One corpus."""
        return self._get(Corpus, f"/v1/corpora/{corpus_id}")

    def corpus_text(self, corpus_id: str) -> str:
        """The whole text of a corpus, as it is trained on."""
        response = self._transport.request("GET", f"/v1/corpora/{corpus_id}/text")
        return response.content.decode()

    def update_corpus(self, corpus_id: str, changes: Mapping[str, Any]) -> Corpus:
        """Change `name` or `visibility`."""
        return self._patch(Corpus, f"/v1/corpora/{corpus_id}", changes)

    def delete_corpus(self, corpus_id: str) -> None:
        """Delete a corpus that nothing needs any more."""
        self._transport.request("DELETE", f"/v1/corpora/{corpus_id}")

    # Jobs.

    def train(self, body: Mapping[str, Any]) -> Job:
        """Submit a training; `body` is that of ``POST /v1/train``."""
        return self._post(Job, "/v1/train", body)

    def generate(self, body: Mapping[str, Any], wait_seconds: int | None = None) -> Job:
        """Submit a generation, and wait up to `wait_seconds` for its texts."""
        return self._post(
            Job,
            "/v1/generate",
            body,
            headers={"Prefer": f"wait={wait_seconds}"} if wait_seconds else None,
            read_seconds=READ_SECONDS + (wait_seconds or 0),
        )

    def score(self, body: Mapping[str, Any], wait_seconds: int | None = None) -> Job:
        """Ask how likely a model finds a text, and wait up to `wait_seconds` for the answer."""
        return self._post(
            Job,
            "/v1/score",
            body,
            headers={"Prefer": f"wait={wait_seconds}"} if wait_seconds else None,
            read_seconds=READ_SECONDS + (wait_seconds or 0),
        )

    def jobs(self, **filters: str | None) -> Iterator[Job]:
        """The jobs this key may see, newest first; filters: kind, status, model, name."""
        return self._list(Job, "/v1/jobs", **filters)

    def job(self, job_id: str) -> Job:
        """One job."""
        return self._get(Job, f"/v1/jobs/{job_id}")

    def events(
        self, job_id: str, last_id: str | None = None
    ) -> AbstractContextManager[Iterator[str]]:
        """The lines of a job's events, from the first or behind the one of `last_id` on."""
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        return self._transport.lines(f"/v1/jobs/{job_id}/events", headers)

    def cancel_job(self, job_id: str) -> Job:
        """Ask for a job's end."""
        return self._ask(job_id, "cancel")

    def pause_job(self, job_id: str) -> Job:
        """Let a job stand still."""
        return self._ask(job_id, "pause")

    def resume_job(self, job_id: str) -> Job:
        """Put a paused job back into the line."""
        return self._ask(job_id, "resume")

    def lift_job(self, job_id: str) -> None:
        """Put a job above all others (admins)."""
        self._transport.request("POST", f"/v1/jobs/{job_id}/lift")

    def rerun_job(self, job_id: str) -> Job:
        """Submit a job again as it was."""
        return self._post(Job, f"/v1/jobs/{job_id}/rerun", None)

    def job_metrics(
        self,
        job_id: str,
        *,
        after: int | None = None,
        points: int | None = None,
        validation: bool | None = None,
    ) -> Iterator[Metric]:
        """The loss curves of a training, from its first step on.

        Args:
            job_id: The training.
            after: Only steps beyond this one.
            points: Thin the curves to so many points at most.
            validation: Only points with a validation loss, or only those without.
        """
        path = f"/v1/jobs/{job_id}/metrics"
        return self._list(Metric, path, after=after, points=points, validation=validation)

    def job_history(self, job_id: str, *, after: int | None = None) -> Iterator[Event]:
        """What happened to a job, in order; only events whose id is beyond `after`."""
        return self._list(Event, f"/v1/jobs/{job_id}/history", after=after)

    def _ask(self, job_id: str, what: str) -> Job:
        response = self._transport.request("POST", f"/v1/jobs/{job_id}/{what}")
        return Job.model_validate(response.json())

    # The line, and what was used.

    def queue(self, kind: str | None = None, limit: int | None = None) -> Queue:
        """The lines, and who stands where in them."""
        params = {"kind": kind, "limit": limit}
        return Queue.model_validate(
            self._transport.request("GET", "/v1/queue", params=params).json()
        )

    def usage(self, user: str | None = None) -> Usage:
        """What a user has used, and may use; the key's own without a name."""
        return self._get(Usage, f"/v1/usage/{quote(user, safe='')}" if user else "/v1/usage")

    def set_caps(self, user: str, changes: Mapping[str, Any]) -> Usage:
        """Change a user's share and caps (admins)."""
        return self._patch(Usage, f"/v1/usage/{quote(user, safe='')}", changes)

    # Models and what they wrote.

    def models(self, name: str | None = None) -> Iterator[Model]:
        """The models this key may see, newest first."""
        return self._list(Model, "/v1/models", name=name)

    def model(self, model_id: str) -> Model:
        """One model."""
        return self._get(Model, f"/v1/models/{model_id}")

    def update_model(self, model_id: str, changes: Mapping[str, Any]) -> Model:
        """Change `name` or `visibility`."""
        return self._patch(Model, f"/v1/models/{model_id}", changes)

    def delete_model(self, model_id: str) -> None:
        """Delete a model with its checkpoints."""
        self._transport.request("DELETE", f"/v1/models/{model_id}")

    def checkpoints(self, model_id: str) -> Iterator[Checkpoint]:
        """The checkpoints of a model, newest first."""
        return self._list(Checkpoint, f"/v1/models/{model_id}/checkpoints")

    def download_checkpoint(
        self, checkpoint_id: str, path: Path, passed: Passed | None = None
    ) -> int:
        """Write a checkpoint's safetensors to `path`; returns its size in bytes.

        The file appears whole or not at all.
        """
        part = path.with_name(path.name + ".part")
        done = 0
        try:
            with (
                self._transport.stream(
                    f"/v1/checkpoints/{quote(checkpoint_id, safe='')}/download"
                ) as response,
                part.open("wb") as file,
            ):
                length = response.headers.get("Content-Length")
                total = int(length) if length else None
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    done += len(chunk)
                    if passed:
                        passed(done, total)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return done

    def texts(self, model: str | None = None, job: str | None = None) -> Iterator[Text]:
        """Texts, newest first."""
        return self._list(Text, "/v1/texts", model=model, job=job)

    def job_texts(self, job_id: str, *, after: int | None = None) -> Iterator[Text]:
        """The texts of one job in their order; only those of steps beyond `after`."""
        return self._list(Text, f"/v1/jobs/{job_id}/texts", after=after)

    def _get(self, reply: type[R], path: str) -> R:
        return reply.model_validate(self._transport.request("GET", path).json())

    def _post(self, reply: type[R], path: str, body: Mapping[str, Any] | None, **options: Any) -> R:
        response = self._transport.request("POST", path, body=body, idempotency_key=True, **options)
        return reply.model_validate(response.json())

    def _patch(self, reply: type[R], path: str, changes: Mapping[str, Any]) -> R:
        response = self._transport.request("PATCH", path, body=changes)
        return reply.model_validate(response.json())

    def _list(self, reply: type[R], path: str, **filters: str | int | None) -> Iterator[R]:
        cursor: str | None = None
        while True:
            params = {"limit": PAGE_ITEMS, "cursor": cursor, **filters}
            page = self._transport.request("GET", path, params=params).json()
            yield from map(reply.model_validate, page["items"])
            cursor = page.get("next_cursor")
            if not cursor:
                return


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
