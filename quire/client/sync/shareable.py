# Written by `make client` from quire/client/aio/shareable.py: change that file.
"""What corpora and models have alike: a name, and those who may see them."""

from abc import ABC, abstractmethod
from typing import Any, Self

from quire.client.requests import bodies


class Shareable(ABC):
    """Something of a user's that others may be let see."""

    @abstractmethod
    def update(self, **changes: Any) -> Self:
        """Change fields, as the ``PATCH`` of its kind takes them."""

    def rename(self, name: str) -> Self:
        """Give it another name."""
        return self.update(name=name)

    def share(self, group: str | None = None) -> Self:
        """Share it with a group, or with everyone on the server.

        A shared corpus can be read and trained on. A shared model can give away passages of its
        corpus that it learnt by heart.
        """
        return self.update(**bodies.sharing(group))

    def unshare(self) -> Self:
        """Keep it to yourself."""
        return self.update(visibility="private")
