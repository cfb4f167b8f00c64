"""Every test named in docs/promises.md and the README exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/\S+)::(\w+)`", (ROOT / "docs/promises.md").read_text())


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_test_behind_a_promise_exists(path: str, name: str) -> None:
    assert f"\ndef {name}(" in (ROOT / path).read_text()


def test_every_promise_has_a_test() -> None:
    page = (ROOT / "docs/promises.md").read_text()
    assert all("::test_" in promise for promise in page.split("\n- ")[1:])
    # The README lists those about jobs, each with a link to one of the files named on the page.
    promises = page.partition("## Jobs\n")[2].partition("\n## ")[0].split("\n- ")[1:]
    assert len(promises) == 7
    readme = (ROOT / "README.md").read_text().partition("## What it promises\n\n")[2]
    summary = readme.partition("\n\n")[0].removeprefix("- ").split("\n- ")
    assert len(summary) == len(promises)
    for promise, line in zip(promises, summary, strict=True):
        [path] = re.findall(r"\(\[test\]\((tests/\S+)\)\)", line)
        assert f"`{path}::" in promise, line
