"""The novelty index, compared with a simple search."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.ml import novelty
from worker.ml.novelty import Novelty, NoveltyIndex


def searched(corpus: str, text: str) -> Novelty:
    """The same figures by brute force."""
    longest = at = 0
    for i in range(len(text)):
        while i + longest < len(text) and text[i : i + longest + 1] in corpus:
            longest, at = longest + 1, i
    grams = [text[i : i + 8] for i in range(len(text) - 7)]
    known = sum(gram in corpus for gram in grams) / len(grams) if grams else None
    return Novelty(longest, at, corpus.find(text[at : at + longest]), known)


@settings(max_examples=300)
@given(st.data())
def test_the_index_finds_what_a_search_finds(data: st.DataObject) -> None:
    alphabet = data.draw(st.sampled_from(["ab", "abc ", "aß€😀", "a\n"]))
    corpus = data.draw(st.text(alphabet=alphabet, max_size=300))
    text = data.draw(st.text(alphabet=alphabet + "z", max_size=60))
    if corpus and data.draw(st.booleans()):
        start = data.draw(st.integers(0, len(corpus) - 1))
        text = text[:9] + corpus[start : start + 40] + text[9:]
    assert NoveltyIndex(corpus).look_up(text) == searched(corpus, text)


@pytest.mark.parametrize("source", ["english", "chinese", "repetitive"])
def test_real_texts(source: str, english: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "SORT_CHUNK", 10_000)
    chosen = random.Random(3)
    corpus = {
        "english": english,
        # More distinct characters than a byte holds, so that eight of them take two keys.
        "chinese": "".join(chr(0x4E00 + int(1000 * chosen.random() ** 4)) for _ in range(50_000)),
        "repetitive": ("def f(x):\n" + 16 * " " + "return x\n") * 2000,
    }[source]
    index = NoveltyIndex(corpus)
    assert index.characters == len(corpus)
    starts = [chosen.randrange(len(corpus) - 50) for _ in range(20)]
    patched = "".join(corpus[start : start + chosen.randrange(3, 50)] for start in starts)
    strange = 5 * (12 * " " + "return y\n")
    for text in (patched, corpus[777:1277], corpus[:300] + "§", strange):
        assert index.look_up(text) == searched(corpus, text)
    assert index.look_up(corpus[777:1277]).known_grams == 1


def test_empty_corpora_and_texts_match_nothing() -> None:
    assert NoveltyIndex("").look_up("text of its own") == Novelty(0, 0, 0, 0.0)
    assert NoveltyIndex("some corpus").look_up("") == Novelty(0, 0, 0, None)
    assert NoveltyIndex("corpus").look_up("pus") == Novelty(3, 0, 3, None)
