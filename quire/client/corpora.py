"""Corpora: the texts that models are trained on."""

from collections.abc import Iterator, Mapping
from typing import Any

from quire.client.base import ClientBase, ProgressCallback
from quire.client.replies import Corpus

UPLOAD_CHUNK_BYTES = 64 * 1024
#: The server decodes and stores an uploaded corpus before it answers.
UPLOAD_READ_SECONDS = 300.0


class Corpora(ClientBase):
    """The operations on corpora."""

    def upload_corpus(
        self,
        data: bytes,
        *,
        name: str,
        encoding: str | None = None,
        visibility: str | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Corpus:
        """Upload a text.

        Args:
            data: The content of the file; the server decodes it.
            name: The name of the corpus.
            encoding: The encoding of `data`; None means UTF-8.
            visibility: `private` or `server`; None leaves the choice to the server.
            on_progress: Called with the bytes sent so far.
        """

        def chunks() -> Iterator[bytes]:
            for start in range(0, len(data), UPLOAD_CHUNK_BYTES):
                yield data[start : start + UPLOAD_CHUNK_BYTES]
                if on_progress:
                    on_progress(min(start + UPLOAD_CHUNK_BYTES, len(data)), len(data))

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
        """List the corpora that this key may read, newest first."""
        return self._list(Corpus, "/v1/corpora", name=name)

    def corpus(self, corpus_id: str) -> Corpus:
        """Get a corpus."""
        return self._get(Corpus, f"/v1/corpora/{corpus_id}")

    def corpus_text(self, corpus_id: str) -> str:
        """Get the full text of a corpus, as models are trained on it."""
        response = self._transport.request("GET", f"/v1/corpora/{corpus_id}/text")
        return response.content.decode()

    def update_corpus(self, corpus_id: str, changes: Mapping[str, Any]) -> Corpus:
        """Change the `name`, `visibility` or `allow_excerpts` of a corpus."""
        return self._patch(Corpus, f"/v1/corpora/{corpus_id}", changes)

    def delete_corpus(self, corpus_id: str) -> None:
        """Delete a corpus that no job or model uses."""
        self._transport.request("DELETE", f"/v1/corpora/{corpus_id}")
