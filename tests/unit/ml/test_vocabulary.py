"""Characters to ids and back."""

import numpy as np
import pytest

from worker.ml.vocabulary import CHUNK_CHARACTERS, UnknownCharacter, Vocabulary


@pytest.mark.parametrize(
    "text", ["hello world", "紅樓夢 – «ö»", "😀 beyond the first plane", "\ud800 lone"]
)
def test_decoding_gives_the_text_back(text: str) -> None:
    vocabulary = Vocabulary.of(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.characters == "".join(sorted(set(text)))


@pytest.mark.parametrize(
    ("size", "dtype"), [(1, "uint8"), (256, "uint8"), (257, "uint16"), (70_000, "uint32")]
)
def test_ids_take_the_smallest_type(size: int, dtype: str) -> None:
    characters = "".join(chr(0x100 + i) for i in range(size) if not 0xD7 <= i >> 8 < 0xDF)
    characters = (characters + "".join(chr(0x20000 + i) for i in range(size)))[:size]
    ids = Vocabulary(characters).encode(characters)
    assert ids.dtype == dtype
    assert np.array_equal(ids, np.arange(size))


@pytest.mark.parametrize("position", [0, 5, CHUNK_CHARACTERS - 1, CHUNK_CHARACTERS, 70_001])
@pytest.mark.parametrize("character", ["X", "\0", "紅"])
def test_the_first_unknown_character_is_named_with_its_position(
    position: int, character: str
) -> None:
    text = "abc" * 30_000
    broken = text[:position] + character + text[position:] + character
    with pytest.raises(UnknownCharacter) as caught:
        Vocabulary.of(text).encode(broken)
    assert caught.value.position == position
    assert caught.value.character == character
    assert f"position {position}" in str(caught.value)


def test_vocabularies_compare_by_value_and_check_their_characters() -> None:
    assert len(Vocabulary("ba")) == 2
    assert Vocabulary("ba") == Vocabulary("ba") != Vocabulary("ab")
    assert Vocabulary("ab").encode("").size == 0
    with pytest.raises(ValueError, match="twice"):
        Vocabulary("aba")
    with pytest.raises(ValueError, match="at least one"):
        Vocabulary("")
    with pytest.raises(IndexError):
        Vocabulary("ab").decode([2])
