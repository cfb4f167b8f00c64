"""The texts to learn from."""

from collections.abc import Iterator, Mapping
from typing import Any

from quire.client.base import Base, Passed
from quire.client.replies import Corpus

UPLOAD_CHUNK_BYTES = 64 * 1024
#: An uploaded corpus is decoded and stored before the server answers.
UPLOAD_READ_SECONDS = 300.0


class Corpora(Base):
    """Corpora."""

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
