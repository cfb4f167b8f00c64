"""Corpora that can be read, shared and deleted."""

from typing import Any, Self

from pydantic import PrivateAttr

from quire.client import replies
from quire.client.aio.routes import AsyncRoutes
from quire.client.aio.shareable import AsyncShareable
from quire.client.handles import take_fields, with_fields_of


class AsyncCorpus(AsyncShareable, replies.Corpus):
    """A text that models are trained on."""

    _routes: AsyncRoutes = PrivateAttr()

    async def refresh(self) -> Self:
        """Ask the server for the corpus again."""
        take_fields(self, await self._routes.corpus(self.id))
        return self

    async def read(self) -> str:
        """Get the full text, as models are trained on it."""
        return await self._routes.corpus_text(self.id)

    async def update(self, **changes: Any) -> Self:
        """Change fields of the corpus, as ``PATCH /v1/corpora/{id}`` takes them."""
        take_fields(self, await self._routes.update_corpus(self.id, changes))
        return self

    async def delete(self) -> None:
        """Delete the corpus. No job or model may use it."""
        await self._routes.delete_corpus(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.characters:,} characters {self.id}>"

    __str__ = __repr__


def corpus_of(routes: AsyncRoutes, reply: replies.Corpus) -> AsyncCorpus:
    """Return a corpus that can do something."""
    corpus = with_fields_of(AsyncCorpus, reply)
    corpus._routes = routes
    return corpus
