"""Reads pyproject.toml and the locks."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "migrations", "quire", "shared", "worker")


@cache
def pyproject() -> dict[str, Any]:
    """Return the contents of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements(*extras: str) -> list[Requirement]:
    """Return the requirements of the project with the named extras."""
    project = pyproject()["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][name] for name in extras)]
    return [Requirement(line) for lines in lists for line in lines]


@dataclass(frozen=True)
class Pin:
    """An entry of a lock."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The normalized name of the package."""
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The pinned version."""
        [specifier] = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version

    def applies(self, python: str = "3.11.9") -> bool:
        """Whether it is installed on Linux with this Python version."""
        short = python.rpartition(".")[0]
        environment = {
            "python_version": short,
            "python_full_version": python,
            "sys_platform": "linux",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
        }
        marker = self.requirement.marker
        return marker is None or marker.evaluate(environment)


def pins(lock: str) -> Iterator[Pin]:
    """Yield the entries of a lock in order."""
    lines = (ROOT / lock).read_text().replace("\\\n", " ").splitlines()
    for line in lines:
        entry, *hashes = line.split("--hash=")
        yield Pin(Requirement(entry.strip()), tuple(text.strip() for text in hashes))
