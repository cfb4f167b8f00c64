"""Models, their checkpoints, and the texts they generated."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quire.client.base import ClientBase, ProgressCallback, quote_segment
from quire.client.corpora import UPLOAD_CHUNK_BYTES, UPLOAD_READ_SECONDS
from quire.client.replies import Checkpoint, Model, Text


class Models(ClientBase):
    """The operations on models, checkpoints and texts."""

    def models(self, name: str | None = None) -> Iterator[Model]:
        """List the models that this key may use, newest first."""
        return self._list(Model, "/v1/models", name=name)

    def model(self, model_id: str) -> Model:
        """Get a model."""
        return self._get(Model, f"/v1/models/{model_id}")

    def update_model(self, model_id: str, changes: Mapping[str, Any]) -> Model:
        """Change the `name` or `visibility` of a model.

        The visibility `group` comes with the name or id of a `group` that the key's owner is in.
        """
        return self._patch(Model, f"/v1/models/{model_id}", changes)

    def delete_model(self, model_id: str) -> None:
        """Delete a model and its checkpoints."""
        self._transport.request("DELETE", f"/v1/models/{model_id}")

    def checkpoints(self, model_id: str) -> Iterator[Checkpoint]:
        """List the checkpoints of a model, newest first."""
        return self._list(Checkpoint, f"/v1/models/{model_id}/checkpoints")

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
            with self._transport.stream(url) as response, part.open("wb") as file:
                length = response.headers.get("Content-Length")
                total = int(length) if length else None
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    done += len(chunk)
                    if on_progress:
                        on_progress(done, total)
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
        size = path.stat().st_size

        def chunks() -> Iterator[bytes]:
            done = 0
            with path.open("rb") as file:
                while chunk := file.read(UPLOAD_CHUNK_BYTES):
                    yield chunk
                    done += len(chunk)
                    if on_progress:
                        on_progress(done, size)

        response = self._transport.request(
            "POST",
            "/v1/models/import",
            params={"name": name, "visibility": visibility},
            content=chunks,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            read_seconds=UPLOAD_READ_SECONDS,
            idempotency_key=True,
        )
        return Model.model_validate(response.json())

    def texts(self, model: str | None = None, job: str | None = None) -> Iterator[Text]:
        """List generated texts, newest first."""
        return self._list(Text, "/v1/texts", model=model, job=job)
