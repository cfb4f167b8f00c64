"""Which characters act on a terminal, and which a name may contain."""

import json
import unicodedata

import pytest

from shared.hidden_characters import escaped_in_json, hidden_in_name, visible

ACTING = [
    *map(chr, [*range(9), *range(0x0B, 0x20), *range(0x7F, 0xA0)]),
    *map(chr, [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]),
]


@pytest.mark.parametrize("character", ACTING, ids=ascii)
def test_a_character_that_acts_on_a_terminal_becomes_a_mark(character: str) -> None:
    shown = visible(f"a{character}b")
    assert shown[0] + shown[-1] == "ab"
    assert len(shown) > 2
    assert character not in shown
    assert visible(shown) == shown, "marks are no controls"


def test_every_other_text_is_shown_as_it_is() -> None:
    text = "a\tb\nĀ नमस्ते می‌خواهم 👩‍👩‍👧 \u00a0 :smile: [bold]x[/] \\ 紅樓夢"
    assert visible(text) == text


def test_json_keeps_its_value() -> None:
    value = {"text": "".join(ACTING) + "é\n\t"}
    document = escaped_in_json(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(document) == value
    assert not any(character in document for character in ACTING)
    assert "é" in document


@pytest.mark.parametrize(
    "name",
    ["plain", "紅樓夢", "नमस्ते", "می‌خواهم", "क्‍ष", "👩‍👩‍👧 family", "👩🏽‍🚀", "❤️‍🔥", "a.b [x] \\"],
)
def test_a_name_that_is_shown_whole_is_allowed(name: str) -> None:
    assert hidden_in_name(name) is None


@pytest.mark.parametrize(
    "name",
    ["\u200dab", "ab\u200c", "a \u200d b", "1\u200d2", "a\u200d\u200db", "\ufeffa", "a\u00adb",
     "a\u202eb", "a\u2066b", "a\u200bb", "a\u2060b", "a\u2028b", "a\u2029b", "a\x9bb",
     "a\U000e0041b"],
    ids=ascii,
)  # fmt: skip
def test_a_name_that_hides_something_is_refused(name: str) -> None:
    hidden = hidden_in_name(name)
    assert hidden is not None
    assert unicodedata.category(hidden) in {"Cc", "Cf", "Zl", "Zp"}
