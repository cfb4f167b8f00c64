# Written by `make client` from quire/client/aio/corpus.py: change that file.
"""Corpora that can be read, shared and deleted."""

from typing import Any, Self

from pydantic import PrivateAttr

from quire.client import replies
from quire.client.handles import take_fields, with_fields_of
from quire.client.sync.routes import Routes
from quire.client.sync.shareable import Shareable


class Corpus(Shareable, replies.Corpus):
    """A text that models are trained on."""

    _routes: Routes = PrivateAttr()

    def refresh(self) -> Self:
        """Ask the server for the corpus again."""
        take_fields(self, self._routes.corpus(self.id))
        return self

    def read(self) -> str:
        """Get the full text, as models are trained on it."""
        return self._routes.corpus_text(self.id)

    def update(self, **changes: Any) -> Self:
        """Change fields of the corpus, as ``PATCH /v1/corpora/{id}`` takes them."""
        take_fields(self, self._routes.update_corpus(self.id, changes))
        return self

    def delete(self) -> None:
        """Delete the corpus. No job or model may use it."""
        self._routes.delete_corpus(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.characters:,} characters {self.id}>"

    __str__ = __repr__


def corpus_of(routes: Routes, reply: replies.Corpus) -> Corpus:
    """Return a corpus that can do something."""
    corpus = with_fields_of(Corpus, reply)
    corpus._routes = routes
    return corpus
