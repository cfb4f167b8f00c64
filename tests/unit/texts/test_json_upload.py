"""A text inside JSON is decoded piece by piece, as Python's parser decodes it at once."""

import json
import random
import tracemalloc
from typing import Any

import pytest

from api.errors import BadJson, TooLarge
from api.http.json_upload import pieces, split

WILD = (
    '“Well,” she said: "naïve café" \\ \\\\ \n\t\r\x7f 😀 👩\u200d👩\u200d👧 \ud7ff 吾輩 / \u2028 '
    "\\u0041 \\ud83d"
)
MOST = 2000


def read(body: bytes) -> tuple[Any, str | None]:
    """The other fields, and the text if it was taken out."""
    part = split(body, "text", MOST)
    found = "".join(pieces(body, part)) if part.end > part.start else None
    return json.loads(part.rest), found


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("times", [1, 300])
@pytest.mark.parametrize("before", [True, False])
def test_the_text_is_what_python_reads(ascii_only: bool, times: int, before: bool) -> None:
    text = WILD * times
    fields: dict[str, Any] = {"name": 'a "name" {[\\', "normalize": None}
    whole = {"text": text, **fields} if before else {**fields, "text": text}
    for indent in (None, 2):
        body = json.dumps(whole, ensure_ascii=ascii_only, indent=indent).encode()
        rest, found = read(body)
        assert found == text
        assert rest == {**fields, "text": "-"}


def test_random_texts_are_what_python_reads() -> None:
    dice = random.Random(3)
    letters = ["a", '"', "\\", "\n", "é", "吾", "😀", "\U0001d11e", "u", "d", "8", "3"]
    for _ in range(300):
        text = "".join(dice.choices(letters, k=dice.choice((1, 7, 5000))))
        body = json.dumps({"text": text}, ensure_ascii=dice.random() < 0.5).encode()
        assert read(body)[1] == text


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "text": ""},
        {"name": "x", "text": 5},
        {"name": "x", "text": ["text"]},
        {"name": "text"},
        {"inner": {"text": "deep"}},
        [{"text": "in a list"}],
        "text",
    ],
)
def test_what_is_no_text_is_left_to_the_parser(body: Any) -> None:
    assert read(json.dumps(body).encode()) == (body, None)


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "no end',
        b'{"text": "no end\\"',
        b'{"text": "\\',
        b'{"text": "\\u00g0"}',
        b'{"text": "\\x41"}',
        b'{"text": "a\nb"}',
        b'{"text": "\xff\xfe"}',
        b'{"text": "one", "text": "two"}',
        b'{"name',
        '{"text": "wide"}'.encode("utf-16"),
        '{"text": "wide"}'.encode("utf-32-be"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadJson):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        {"text": "a", "name": "x" * 3000},
        {"name": "x" * 3000, "text": "a"},
        {"text": ["a" * 3000]},
        {f"field{number}": 1 for number in range(500)},
        [0] * 3000,
    ],
)
def test_the_rest_is_small(body: Any) -> None:
    with pytest.raises(TooLarge, match="at most 2,000 bytes"):
        read(json.dumps(body).encode())


@pytest.mark.parametrize(
    "written", ["It was the best of times. 😀\n", 'a "quoted" word\\\n', "吾輩は"]
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_little_memory_is_used(written: str, ascii_only: bool) -> None:
    body = json.dumps({"text": written * 200_000}, ensure_ascii=ascii_only).encode()
    tracemalloc.start()
    part = split(body, "text", MOST)
    count = sum(map(len, pieces(body, part)))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == len(written) * 200_000
    assert peak < 16 * 2**20


def test_halves_of_quotes_and_escapes_take_linear_time() -> None:
    # A search that begins again at every quote would not end before the suite's time-out.
    for body in (b'{"text": "' + b'\\"' * 2_000_000, b'{"text": "' + b"\\" * 4_000_001):
        with pytest.raises(BadJson):
            split(body, "text", MOST)
