"""What corpora and models have alike: a name, and those who may see them."""

from abc import ABC, abstractmethod
from typing import Any, Self

from quire.client.requests import bodies


class AsyncShareable(ABC):
    """Something of a user's that others may be let see."""

    @abstractmethod
    async def update(self, **changes: Any) -> Self:
        """Change fields, as the ``PATCH`` of its kind takes them."""

    async def rename(self, name: str) -> Self:
        """Give it another name."""
        return await self.update(name=name)

    async def share(self, group: str | None = None) -> Self:
        """Share it with a group, or with everyone on the server.

        A shared corpus can be read and trained on. A shared model can give away passages of its
        corpus that it learnt by heart.
        """
        return await self.update(**bodies.sharing(group))

    async def unshare(self) -> Self:
        """Keep it to yourself."""
        return await self.update(visibility="private")
