"""The settings, links and log lines that the documentation names exist."""

import re
from pathlib import Path

import pytest

from shared.settings import variables

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PARTS = ("api", "quire", "shared", "worker")


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_named_settings_exist(page: Path) -> None:
    named = set(re.findall(r"\bQUIRE_[A-Z_]+[A-Z]\b", page.read_text()))
    assert {name for name in named if not name.startswith("QUIRE_TEST_")} <= set(variables())


def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_files_that_are_named_exist() -> None:
    """What ARCHITECTURE.md says that a file decides, the file is there to decide."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    packages = "api|deploy|migrations|quire|shared|tests|worker"
    named = set(re.findall(rf"`((?:{packages})/[\w/.]+)`", text))
    assert len(named) > 50
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["SECURITY.md", "docs/promises.md"])
def test_tests_that_are_named_exist(name: str) -> None:
    """`::test_…` alone is in the file that was named last."""
    file, missing = "", []
    named = re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", (ROOT / name).read_text())
    for found, test in named:
        file = found or file
        source = (ROOT / file).read_text() if file and (ROOT / file).exists() else ""
        if not source or (test and f"def {test}(" not in source):
            missing.append(f"{file}::{test}")
    assert len(named) > 10
    assert missing == []


def test_log_lines_in_the_operations_guide_exist() -> None:
    cells = re.findall(r"^\| log (.+?) \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    events = re.findall("`(.+?)`", " ".join(cells))
    assert len(events) > 5
    code = "".join(path.read_text() for part in PARTS for path in (ROOT / part).rglob("*.py"))
    assert [event for event in events if f'"{event}"' not in code] == []
