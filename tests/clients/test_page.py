"""Every block of docs/clients.md runs as it stands."""

import re

import pytest

from tests.clients.conftest import Clients
from tests.e2e.home import ROOT

PAGE = (ROOT / "docs" / "clients.md").read_text()
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Return the blocks: their section, language and text."""
    _, *parts = SECTION.split(PAGE)
    return [
        (section, language, block)
        for section, text in zip(parts[::2], parts[1::2], strict=True)
        for language, block in BLOCK.findall(text)
    ]


def test_each_client_has_a_block() -> None:
    assert {section for section, _, _ in blocks()} >= {"`openai`", "LangChain", "`llm`", "LiteLLM"}


@pytest.mark.parametrize(
    ("section", "language", "block"),
    [pytest.param(*each, id=f"{each[0]}-{number}") for number, each in enumerate(blocks())],
)
def test_a_block_runs(clients: Clients, section: str, language: str, block: str) -> None:
    run = clients.python if language == "python" else clients.shell
    shown = run("-c", block)
    assert shown.strip(), section
