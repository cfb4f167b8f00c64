# Written by `make client` from quire/client/aio/routes/models.py: change that file.
"""Models, their checkpoints, and the texts they generated."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from quire.client.replies import Checkpoint, Model, Text
from quire.client.requests.uploads import Body, ProgressCallback, size_of
from quire.client.sync import runtime
from quire.client.sync.base import Base, quote_segment
from quire.client.sync.routes.corpora import UPLOAD_READ_SECONDS


class Models(Base):
    """The operations on models, checkpoints and texts."""

    def models(self, name: str | None = None, *, deleted: bool = False) -> Iterator[Model]:
        """List the models that this key may use, newest first; or those of yours to restore."""
        return self._list(Model, "/v1/models", name=name, deleted="true" if deleted else None)

    def model(self, model_id: str) -> Model:
        """Get a model."""
        return self._get(Model, f"/v1/models/{model_id}")

    def update_model(self, model_id: str, changes: Mapping[str, Any]) -> Model:
        """Change the `name` or `visibility` of a model.

        The visibility `group` comes with the name or id of a `group` that the key's owner is in.
        """
        return self._patch(Model, f"/v1/models/{model_id}", changes)

    def delete_model(self, model_id: str, *, purge: bool = False) -> None:
        """Delete a model and its checkpoints; `restore_model` restores it.

        Args:
            model_id: Its id.
            purge: Delete it for good at once, even if it is deleted already.
        """
        params = {"purge": "true"} if purge else None
        self._transport.request("DELETE", f"/v1/models/{model_id}", params=params)

    def restore_model(self, model_id: str) -> Model:
        """Have a deleted model back."""
        response = self._transport.request("POST", f"/v1/models/{model_id}/restore")
        return Model.model_validate(response.json())

    def checkpoints(self, model_id: str) -> Iterator[Checkpoint]:
        """List the checkpoints of a model, newest first."""
        return self._list(Checkpoint, f"/v1/models/{model_id}/checkpoints")

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Get a checkpoint."""
        return self._get(Checkpoint, f"/v1/checkpoints/{quote_segment(checkpoint_id)}")

    def checkpoint_of_model(self, model_id: str, checkpoint: str = "best") -> Checkpoint:
        """Get a checkpoint of a model: ``best``, ``latest``, or one given by its id."""
        path = f"/v1/models/{model_id}/checkpoints/{quote_segment(checkpoint)}"
        return self._get(Checkpoint, path)

    def download_checkpoint(
        self, checkpoint_id: str, path: Path, on_progress: ProgressCallback | None = None
    ) -> int:
        """Write the safetensors file of a checkpoint to `path`, completely or not at all.

        Returns:
            The size of the file in bytes.
        """
        url = f"/v1/checkpoints/{quote_segment(checkpoint_id)}/download"
        return self._download(url, path, on_progress)

    def _download(self, url: str, path: Path, on_progress: ProgressCallback | None) -> int:
        part = path.with_name(path.name + ".part")
        done = 0
        try:
            with self._transport.stream(url) as response:
                length = response.headers.get("Content-Length")
                total = int(length) if length else None
                # The file is opened after the answer, so that a refusal leaves none.
                file = part.open("wb")
                try:
                    for chunk in response.iter_bytes():
                        runtime.off_loop(file.write, chunk)
                        done += len(chunk)
                        if on_progress:
                            on_progress(done, total)
                finally:
                    file.close()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return done

    def export_model(
        self,
        model_id: str,
        path: Path,
        *,
        checkpoint: str = "best",
        optimizer: bool = True,
        on_progress: ProgressCallback | None = None,
    ) -> int:
        """Write a model as one file, which `import_model` takes, completely or not at all.

        Args:
            model_id: The model.
            path: The file to write.
            checkpoint: `best`, `latest` or a checkpoint's id.
            optimizer: Whether to write the optimizer state, which only a training that goes on
                exactly needs.
            on_progress: Called with the bytes received so far.

        Returns:
            The size of the file in bytes.
        """
        query = f"checkpoint={quote_segment(checkpoint)}&optimizer={str(optimizer).lower()}"
        url = f"/v1/models/{quote_segment(model_id)}/export?{query}"
        return self._download(url, path, on_progress)

    def import_model(
        self,
        path: Path,
        *,
        name: str | None = None,
        visibility: str | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Model:
        """Bring a model that `export_model` wrote, from this server or another one.

        Args:
            path: The file.
            name: The name of the model; None takes the one in the file.
            visibility: `private` or `server`; None leaves the choice to the server.
            on_progress: Called with the bytes sent so far.
        """
        body = Body("application/octet-stream", [path], size_of(path))
        response = self._transport.request(
            "POST",
            "/v1/models/import",
            params={"name": name, "visibility": visibility},
            content=partial(body.pieces, on_progress),
            headers={"Content-Type": body.media_type, "Content-Length": str(body.size)},
            read_seconds=UPLOAD_READ_SECONDS,
            idempotency_key=True,
        )
        return Model.model_validate(response.json())

    def text(self, text_id: str) -> Text:
        """Get a generated text."""
        return self._get(Text, f"/v1/texts/{text_id}")

    def texts(
        self, model: str | None = None, job: str | None = None, *, kept: bool | None = None
    ) -> Iterator[Text]:
        """List generated texts, newest first; `kept` only those that you keep, or do not keep."""
        only = None if kept is None else str(kept).lower()
        return self._list(Text, "/v1/texts", model=model, job=job, kept=only)

    def update_text(self, text_id: str, changes: Mapping[str, Any]) -> Text:
        """Change whether you keep a text (`kept`), and your `note` on it."""
        return self._patch(Text, f"/v1/texts/{text_id}", changes)
