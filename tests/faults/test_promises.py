"""docs/promises.md and the README: every test that they name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/\S+)::(\w+)`", (ROOT / "docs/promises.md").read_text())


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_test_behind_a_promise_is_there(path: str, name: str) -> None:
    assert f"\ndef {name}(" in (ROOT / path).read_text()


def test_every_promise_has_one() -> None:
    page = (ROOT / "docs/promises.md").read_text()
    promises = page.split("\n- ")[1:]
    assert len(promises) == 7
    assert all("::test_" in promise for promise in promises)
    # The README makes the same ones, and each leads to one of the files that are named there.
    readme = (ROOT / "README.md").read_text().partition("## What it promises\n\n")[2]
    short = readme.partition("\n\n")[0].removeprefix("- ").split("\n- ")
    assert len(short) == len(promises)
    for promise, told in zip(promises, short, strict=True):
        [path] = re.findall(r"\(\[test\]\((tests/\S+)\)\)", told)
        assert f"`{path}::" in promise, told
