"""Models, their checkpoints, and the texts they generated."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quire.client.base import ClientBase, ProgressCallback, quote_segment
from quire.client.replies import Checkpoint, Model, Text


class Models(ClientBase):
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
        """Delete a model and its checkpoints; `restore_model` has it back.

        Args:
            model_id: Its id.
            purge: Delete it for good at once, even if it is deleted already.
        """
        params = {"purge": "true"} if purge else None
        self._transport.request("DELETE", f"/v1/models/{model_id}", params=params)

    def restore_model(self, model_id: str) -> Model:
        """Have a deleted model back."""
        path = f"/v1/models/{model_id}/restore"
        return Model.model_validate(self._transport.request("POST", path).json())

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
        part = path.with_name(path.name + ".part")
        done = 0
        url = f"/v1/checkpoints/{quote_segment(checkpoint_id)}/download"
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

    def texts(
        self, model: str | None = None, job: str | None = None, *, kept: bool | None = None
    ) -> Iterator[Text]:
        """List generated texts, newest first; `kept` only those that you keep, or do not keep."""
        only = None if kept is None else str(kept).lower()
        return self._list(Text, "/v1/texts", model=model, job=job, kept=only)

    def text(self, text_id: str) -> Text:
        """Get a text."""
        return self._get(Text, f"/v1/texts/{text_id}")

    def update_text(self, text_id: str, changes: Mapping[str, Any]) -> Text:
        """Change whether you keep a text (`kept`), and your `note` on it."""
        return self._patch(Text, f"/v1/texts/{text_id}", changes)
