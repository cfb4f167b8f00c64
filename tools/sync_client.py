"""Writes `quire/client/sync/`, the client, from `quire/client/aio/`: `make client`.

The asynchronous client is the one that is written by hand; without `async` and `await` it is the
other one. A test generates it again and compares.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
SOURCE, TARGET = ROOT / "quire" / "client" / "aio", ROOT / "quire" / "client" / "sync"
#: Written by hand in both folders: what the two clients do not have in common.
BY_HAND = frozenset(map(Path, ("__init__.py", "runtime.py")))
HEAD = "# Written by `make client` from quire/client/aio/{}: change that file.\n"
#: Sorts imports, also of modules that are not written yet; a generator that passes another one on
#: does so with `yield from`.
SIMPLIFY = (
    *("check", "--fix", "--unsafe-fixes", "--select", "I,UP028", "--quiet"),
    *("--config", "lint.isort.known-first-party = ['quire']"),
)
REPLACEMENTS = [
    (r"\basync (?=def|with|for)", ""),
    (r"\bawait ", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\baiter_bytes\b", "iter_bytes"),
    (r"\baread\b", "read"),
    (r"\baclose\b", "close"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\bAbstractAsyncContextManager\b", "AbstractContextManager"),
    (r"\bquire\.client\.aio\b", "quire.client.sync"),
    # AsyncClient, AsyncIterator; httpx2.AsyncClient.
    (r"\bAsync(?=[A-Z])", ""),
    (r"\bAwaitable\[((?:[^\[\]]|\[[^\[\]]*\])*)\]", r"\1"),
    (r"\bAwaitable, ", ""),
]


def main() -> None:
    """Write the files, and remove those whose source is gone."""
    generated = dict(generate())
    for path in written():
        if path not in generated:
            (TARGET / path).unlink()
    for path, text in generated.items():
        (TARGET / path).parent.mkdir(exist_ok=True)
        (TARGET / path).write_text(text)


def written() -> set[Path]:
    """Return the files of the client that are not written by hand."""
    return {path.relative_to(TARGET) for path in TARGET.rglob("*.py")} - BY_HAND


def generate() -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of each file of the client."""
    paths = {path.relative_to(SOURCE) for path in SOURCE.rglob("*.py")} - BY_HAND
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            text = HEAD.format(path) + without_async((SOURCE / path).read_text())
            (folder / path).write_text(text)
        for arguments in (SIMPLIFY, ("format", "--quiet")):
            subprocess.run(
                [sys.executable, "-m", "ruff", *arguments, "--config", "pyproject.toml", folder],
                cwd=ROOT,
                check=True,
            )
        for path in sorted(paths):
            yield path, (folder / path).read_text()


def without_async(source: str) -> str:
    """Return a module as it is without asyncio."""
    for pattern, replacement in REPLACEMENTS:
        source = re.sub(pattern, replacement, source)
    return source


if __name__ == "__main__":
    main()
