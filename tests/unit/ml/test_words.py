"""Words as tokens: lossless encoding, spelling of rare words, and reproducible vocabularies."""

import random
import tracemalloc
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ml.conftest import small_config
from worker.ml import words
from worker.ml.holdout import Holdout
from worker.ml.vectorize import (
    characters_per_token,
    encode_pieces,
    vectorize,
)
from worker.ml.vocabulary import UnknownCharacter, Vocabulary
from worker.ml.words import (
    LONGEST_WORD_CHARACTERS,
    NEWEST_RULES,
    RULES,
    blocks,
    frequent_words,
    pieces,
    whole_words,
)

#: Every kind of character that ends a piece, and letters beyond the first plane.
CHARACTERS = "abé紅😀_09 \n\t'’-.,\u00a0कि्\u0301\u200c\u200d\ufe0f"


def split(text: str) -> list[str]:
    return [piece for some in pieces(text) for piece in some]


def tokens(vocabulary: Vocabulary, text: str) -> list[str]:
    return [vocabulary.decode([id]) for id in vocabulary.encode(text)]


def test_a_sentence_is_split_where_one_would_expect() -> None:
    assert split("Hello Tom, how's it -- going?\n\nFine.  And\tyou") == [
        *("Hello", " Tom", ",", " how's", " it", " --", " going", "?"),
        *("\n\n", "Fine", ".", " ", " And", "\t", "you"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("हिन्दी में लिखना", ["हिन्दी", " में", " लिखना"]),
        ("cafe\u0301 re\u0301sume\u0301!", ["cafe\u0301", " re\u0301sume\u0301", "!"]),
        ("สวัสดี ครับ", ["สวัสดี", " ครับ"]),
        ("تَشْكِيل النص", ["تَشْكِيل", " النص"]),
        ("می\u200cخواهم رفت", ["می\u200cخواهم", " رفت"]),  # Persian: a ZWNJ between letters
        ("ක්\u200dෂේත්\u200dර", ["ක්\u200dෂේත්\u200dර"]),  # Sinhala: a ZWJ between letters
        ("می\u200c رفت", ["می", "\u200c", " رفت"]),
        ("a ❤\ufe0f b", ["a", " ❤\ufe0f", " b"]),
        ("👩\u200d🚀 up", ["👩\u200d🚀", " up"]),
    ],
)
def test_a_word_keeps_its_marks_and_joiners(text: str, expected: list[str]) -> None:
    assert split(text) == expected
    assert "".join(expected) == text


def test_a_script_with_marks_is_cut_where_its_letters_alone_would_be() -> None:
    hindi = "मैं हिन्दी में लिखता हूँ, और वह किताबें पढ़ती है।\n"
    letters = {character: chr(0x4E00 + i) for i, character in enumerate(sorted(set(hindi)))}
    plain = {" ": " ", "\n": "\n", ",": ",", "।": "."}
    latin = "".join(plain.get(character, letters[character]) for character in hindi)
    assert list(map(len, split(hindi))) == list(map(len, split(latin)))


def test_the_rules_of_old_models_stay() -> None:
    old = [piece for some in pieces("में है", 1) for piece in some]
    assert old == ["म", "ें", " ह", "ै"]
    assert Vocabulary("मेंह ै", ["में"], 1) != Vocabulary("मेंह ै", ["में"], 2)
    assert Vocabulary("मेंह ै", (), 1) == Vocabulary("मेंह ै", (), 2)
    with pytest.raises(ValueError, match="3 is not a version"):
        Vocabulary("ab", (), 3)


@given(st.text(alphabet=CHARACTERS, max_size=200), st.integers(0, 20))
def test_the_joined_tokens_are_the_text(text: str, most: int) -> None:
    assert "".join(split(text)) == text
    vocabulary = Vocabulary.of(CHARACTERS + text, most)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert "".join(tokens(vocabulary, text)) == text


@given(st.text(alphabet=CHARACTERS, max_size=300), st.integers(1, 40), st.integers(1, 30))
def test_a_long_text_is_split_as_if_it_were_whole(text: str, block: int, part: int) -> None:
    whole = RULES[NEWEST_RULES].pieces.findall(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "BLOCK_CHARACTERS", block)
        assert split(text) == whole
        parted = [text[i : i + part] for i in range(0, len(text), part)]
        assert list(blocks(parted)) == list(blocks([text]))


def test_a_text_without_white_space_is_split_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "BLOCK_CHARACTERS", 10)
    assert max(map(len, blocks(["甄士隱夢幻識通靈，賈雨村風塵懷閨秀。" * 20]))) < 20


def test_the_most_frequent_words_are_tokens_and_others_are_spelled(english: str) -> None:
    vocabulary, ids = vectorize(english, words=300)
    assert len(vocabulary.words) == 300
    assert " the" in vocabulary.words
    assert ids.dtype == np.uint16
    assert vocabulary.decode(ids) == english
    assert len(ids) < 0.7 * len(english)
    found = tokens(vocabulary, "the the zebra")
    assert found == ["the", " the", *" zebra"]
    rarest = min(english.count(word) for word in vocabulary.words)
    assert rarest >= 2


def test_the_same_text_gives_the_same_words_in_the_same_order() -> None:
    some = [f" w{i}" for i in range(50)] * 2
    random.Random(1).shuffle(some)
    found = frequent_words(some, 20)
    assert found == tuple(sorted(f" w{i}" for i in range(50))[:20])
    assert frequent_words(some[::-1], 20) == found
    assert frequent_words(["once only"], 20) == ()
    long = " " + "a" * LONGEST_WORD_CHARACTERS
    assert frequent_words([2 * long + 2 * long[:-1]], 20) == (long[:-1],)


def test_counting_uses_bounded_memory_and_keeps_the_most_frequent_words(
    english: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = RULES[NEWEST_RULES].pieces.findall(english)
    counts = Counter(piece for piece in found if 1 < len(piece) <= LONGEST_WORD_CHARACTERS)
    expected = sorted(counts, key=lambda piece: (-counts[piece], piece))[:500]
    assert frequent_words([english], 500) == tuple(expected)
    monkeypatch.setattr(words, "BLOCK_CHARACTERS", 1 << 14)
    monkeypatch.setattr(words, "COUNTED_PIECES", 1 << 12)
    assert len(counts) > words.COUNTED_PIECES
    assert frequent_words([english], 500)[:100] == tuple(expected[:100])
    unique = ("".join(f" w{i}" for i in range(n, n + 1000)) for n in range(0, 200_000, 1000))
    tracemalloc.start()
    try:
        assert frequent_words(chain([english], unique), 10) == tuple(expected[:10])
        # Keeping all of them would take more than 20 MB.
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_the_first_unknown_character_is_named_with_its_position() -> None:
    vocabulary = Vocabulary("abc ", ("ab", " ab"))
    with pytest.raises(UnknownCharacter, match="position 5") as caught:
        vocabulary.encode("ab abX ab")
    assert (caught.value.character, caught.value.position) == ("X", 5)
    with pytest.raises(UnknownCharacter, match="position 5"):
        encode_pieces(vocabulary, ["ab ", "abX ab"], 9)


def test_vocabularies_of_words_compare_by_value_and_check_their_words() -> None:
    vocabulary = Vocabulary("ab", ("ab", "ba"))
    assert len(vocabulary) == 4
    assert vocabulary != Vocabulary("ab", ("ba", "ab"))
    assert vocabulary != Vocabulary("ab")
    assert vocabulary.encode("").size == 0
    assert vocabulary.encode("ba").tolist() == [3]
    for broken, says in ((("ab", "ab"), "twice"), (("a",), "not a word"), (("ac",), "not a word")):
        with pytest.raises(ValueError, match=says):
            Vocabulary("ab", broken)
    with pytest.raises(IndexError):
        vocabulary.decode([4])


def test_characters_per_token_are_those_of_the_tail(english: str) -> None:
    text = "".join(["ab " * 4000, "abcdefgh " * 500])
    vocabulary, ids = vectorize(text, words=10)
    config = small_config("default", len(vocabulary))
    holdout = Holdout.draw(config, len(ids))
    assert sum(end - first for first, end in holdout.pieces) == 450
    assert characters_per_token(vocabulary, ids, holdout) == pytest.approx(9, abs=0.1)
    vocabulary, ids = vectorize(text)
    assert characters_per_token(vocabulary, ids, Holdout.draw(config, len(ids))) == 1


def test_whole_words_drops_the_words_that_are_cut() -> None:
    assert whole_words("lo Tom, how are yo") == " Tom, how are"
    assert whole_words("nothing to") == "nothing to"
