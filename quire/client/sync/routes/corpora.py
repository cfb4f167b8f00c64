# Written by `make client` from quire/client/aio/routes/corpora.py: change that file.
"""Corpora: the texts that models are trained on."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from quire.client.replies import Corpus, DryRun
from quire.client.requests.uploads import Data, ProgressCallback, body_of
from quire.client.sync.base import Base

#: The server decodes and stores an uploaded corpus before it answers.
UPLOAD_READ_SECONDS = 300.0


class Corpora(Base):
    """The operations on corpora."""

    def upload_corpus(
        self,
        data: Data,
        *,
        name: str,
        encoding: str | None = None,
        visibility: str | None = None,
        on_invalid: str | None = None,
        normalize: str | None = None,
        items: str | None = None,
        separator: str | None = None,
        column: str | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Corpus:
        """Upload a text.

        Args:
            data: The content of a file or its path, or names and contents of several, which are
                put together; the server decodes them.
            name: The name of the corpus.
            encoding: The encoding of `data`; None means by a byte order mark, else UTF-8.
            visibility: `private` or `server`; None leaves the choice to the server.
            on_invalid: `replace` or `drop` bytes that are not in the encoding; None refuses them.
            normalize: `nfc` or `nfd`: the normal form to bring the text to.
            items: `lines`, `blank`, `separator`, `column` or `files`: how a list is cut into items;
                None uploads one text.
            separator: What stands between two items.
            column: The column with the items.
            on_progress: Called with the bytes sent so far.
        """
        fields = {
            "name": name,
            "encoding": encoding,
            "visibility": visibility,
            "on_invalid": on_invalid,
            "normalize": normalize,
            "items": items,
            "separator": separator,
            "column": column,
        }
        return Corpus.model_validate(self._upload(data, fields, on_progress))

    def dry_run_upload(
        self,
        data: Data,
        *,
        name: str,
        encoding: str | None = None,
        on_invalid: str | None = None,
        normalize: str | None = None,
        items: str | None = None,
        separator: str | None = None,
        column: str | None = None,
    ) -> DryRun:
        """Ask what an upload would store, and what the server sees in it. Nothing is kept."""
        fields = {
            "name": name,
            "encoding": encoding,
            "on_invalid": on_invalid,
            "normalize": normalize,
            "items": items,
            "separator": separator,
            "column": column,
        }
        return DryRun.model_validate(self._upload(data, fields, None, dry_run=True))

    def _upload(
        self,
        data: Data,
        fields: Mapping[str, str | None],
        on_progress: ProgressCallback | None,
        *,
        dry_run: bool = False,
    ) -> Any:
        body, query = body_of(data, fields)
        response = self._transport.request(
            "POST",
            "/v1/corpora",
            params={**query, "dry_run": "true" if dry_run else None},
            content=partial(body.pieces, on_progress),
            headers={"Content-Type": body.media_type, "Content-Length": str(body.size)},
            read_seconds=UPLOAD_READ_SECONDS,
            idempotency_key=True,
        )
        return response.json()

    def corpora(self, name: str | None = None, *, deleted: bool = False) -> Iterator[Corpus]:
        """List the corpora that this key may read, newest first; or those of yours to restore."""
        return self._list(Corpus, "/v1/corpora", name=name, deleted="true" if deleted else None)

    def corpus(self, corpus_id: str) -> Corpus:
        """Get a corpus."""
        return self._get(Corpus, f"/v1/corpora/{corpus_id}")

    def corpus_text(self, corpus_id: str) -> str:
        """Get the full text of a corpus, as models are trained on it."""
        response = self._transport.request("GET", f"/v1/corpora/{corpus_id}/text")
        return response.content.decode()

    def update_corpus(self, corpus_id: str, changes: Mapping[str, Any]) -> Corpus:
        """Change the `name`, `visibility` (with its `group`) or `allow_excerpts` of a corpus."""
        return self._patch(Corpus, f"/v1/corpora/{corpus_id}", changes)

    def delete_corpus(self, corpus_id: str, *, purge: bool = False) -> None:
        """Delete a corpus that no job or model uses; `restore_corpus` restores it.

        Args:
            corpus_id: Its id.
            purge: Delete it for good at once, even if it is deleted already.
        """
        params = {"purge": "true"} if purge else None
        self._transport.request("DELETE", f"/v1/corpora/{corpus_id}", params=params)

    def restore_corpus(self, corpus_id: str) -> Corpus:
        """Have a deleted corpus back."""
        response = self._transport.request("POST", f"/v1/corpora/{corpus_id}/restore")
        return Corpus.model_validate(response.json())
