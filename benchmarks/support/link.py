"""A simulated second machine: a network namespace, and a link to it that can be cut.

Needs root, on a Linux that allows network namespaces.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: From the block that RFC 5735 reserves for network tests.
HERE, THERE = "198.18.77.1", "198.18.77.2"


class LinkRefused(Exception):
    """A namespace can't be created here; the message says why."""


@dataclass(frozen=True)
class Link:
    """A namespace with one link to this machine.

    Attributes:
        address: The address of this machine on the link, for servers to listen on.
        enter: The prefix of a command that runs on the second machine.
    """

    address: str
    enter: tuple[str, ...]
    _cable: str

    def cut(self) -> None:
        """Drop all packets silently."""
        _ip("link", "set", self._cable, "down")

    def restore(self) -> None:
        """Let packets through again."""
        _ip("link", "set", self._cable, "up")


@contextmanager
def second_machine() -> Iterator[Link]:
    """Create the second machine, and remove it at the end.

    Raises:
        LinkRefused: It can't be created here.
    """
    name = f"quire{os.getpid()}"
    # The kernel allows 15 characters.
    here, there = f"qh{os.getpid()}", f"qt{os.getpid()}"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LinkRefused(getattr(error, "stderr", None) or str(error)) from error
    try:
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _ip("address", "add", f"{HERE}/30", "dev", here)
        _ip("link", "set", here, "up")
        for command in (
            ("address", "add", f"{THERE}/30", "dev", there),
            ("link", "set", there, "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", name, *command)
        yield Link(HERE, ("ip", "netns", "exec", name), here)
    except subprocess.CalledProcessError as error:
        raise LinkRefused(error.stderr) from error
    finally:
        _ip("netns", "delete", name)


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True, text=True)
