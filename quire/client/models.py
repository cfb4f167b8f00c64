"""Models, their checkpoints, and what they wrote."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quire.client.base import Base, Passed, in_path
from quire.client.replies import Checkpoint, Model, Text


class Models(Base):
    """Models, checkpoints and texts."""

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
                    f"/v1/checkpoints/{in_path(checkpoint_id)}/download"
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
