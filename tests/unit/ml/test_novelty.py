"""The novelty index, compared with a simple search."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.ml import novelty, suffix_array
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
    monkeypatch.setattr(suffix_array, "SORT_CHUNK", 10_000)
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


#: Alphabets of one, two and four bytes a character, and one of words.
ALPHABETS: dict[str, list[str]] = {
    "two letters": list("ab"),
    "words": ["the ", "old ", "grey ", "fox ", "and ", "a ", "sea. ", "\n"],
    "letters": list("abcdefghijklmnopqrstuvwxyz ,."),
    "chinese": [chr(0x4E00 + i) for i in range(600)],
    "any": [chr(0x1F300 + i) for i in range(70_000) if not 0x1FA00 <= 0x1F300 + i < 0x20000],
}


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_many_texts_at_once(alphabet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of every length around 8 and 16 characters, at every edge of text and corpus."""
    # So small that texts lie in several chunks.
    monkeypatch.setattr(suffix_array, "SEARCH_CHUNK", 100)
    monkeypatch.setattr(suffix_array, "SORT_CHUNK", 500)
    monkeypatch.setattr(novelty, "MANY_POSITIONS", 20)
    chosen = random.Random(alphabet)
    tokens = ALPHABETS[alphabet]
    for size in (1, 7, 15, 16, 17, 200, 3000):
        corpus = "".join(chosen.choices(tokens, k=size))
        index = NoveltyIndex(corpus)
        texts = ["", "\ud800§", corpus[:16], corpus[-16:], corpus[-17:] + "§", corpus]
        for copied in (1, 7, 8, 9, 15, 16, 17, 18, 40, 300):
            start = chosen.randrange(len(corpus))
            piece = corpus[start : start + copied]
            own = "".join(chosen.choices(tokens, k=chosen.randrange(30)))
            texts += [piece, own + piece, piece + "§" + piece + own, own + "§" + piece[1:] + own]
        chosen.shuffle(texts)
        assert index.look_up_all(texts) == [searched(corpus, text) for text in texts]
        assert [index.look_up(text) for text in texts] == index.look_up_all(texts)
    assert NoveltyIndex("some corpus").look_up_all([]) == []


def test_empty_corpora_and_texts_match_nothing() -> None:
    assert NoveltyIndex("").look_up("text of its own") == Novelty(0, 0, 0, 0.0)
    assert NoveltyIndex("some corpus").look_up("") == Novelty(0, 0, 0, None)
    assert NoveltyIndex("corpus").look_up("pus") == Novelty(3, 0, 3, None)


def maximal(corpus: str, text: str) -> list[tuple[int, int]]:
    """The matches of 16 characters or more that can't be extended, by brute force."""
    reach = []
    for start in range(len(text)):
        end = start
        while end < len(text) and text[start : end + 1] in corpus:
            end += 1
        reach.append(end)
    return [
        (start, end - start)
        for start, end in enumerate(reach)
        if end - start >= 16 and (start == 0 or reach[start - 1] < end)
    ]


@settings(max_examples=300)
@given(st.data())
def test_copied_spans_are_what_a_search_finds(data: st.DataObject) -> None:
    alphabet = data.draw(st.sampled_from(["ab", "abc ", "aß€😀"]))
    corpus = data.draw(st.text(alphabet=alphabet, min_size=20, max_size=300))
    pieces = data.draw(
        st.lists(st.tuples(st.integers(0, len(corpus) - 1), st.integers(1, 60)), max_size=6)
    )
    text = "".join(corpus[start : start + length] for start, length in pieces)
    text += data.draw(st.text(alphabet=alphabet + "z", max_size=40))
    index = NoveltyIndex(corpus)
    spans = index.copied_spans(text)
    expected = maximal(corpus, text)
    [matches] = index._suffixes.search([text])
    assert index._maximal_matches(text, matches) == expected
    covered = {place for at, length in expected for place in range(at, at + length)}
    told: set[int] = set()
    for before, span in zip([None, *spans], spans, strict=False):
        piece = text[span.start : span.start + span.length]
        assert len(piece) == span.length >= 16
        assert corpus.find(piece) == span.source
        assert before is None or before.start + before.length <= span.start
        told |= set(range(span.start, span.start + span.length))
    assert told <= covered
    if expected:
        longest = max(length for _, length in expected)
        assert max(span.length for span in spans) == longest
    # What is left out is shorter than a span by itself.
    gaps = "".join("x" if place in covered - told else "." for place in range(len(text)))
    assert "x" * 16 not in gaps


def test_a_long_copy_is_one_span() -> None:
    chosen = random.Random(5)
    corpus = "".join(chosen.choice("abcdefgh ") for _ in range(60_000))
    text = "q" + corpus[1000:41_000] + "q" + corpus[3:18] + "q" + corpus[50_000:50_020]
    spans = NoveltyIndex(corpus).copied_spans(text)
    assert [(span.start, span.length, span.source) for span in spans] == [
        (1, 40_000, 1000),
        (40_018, 20, 50_000),
    ]
    repetitive = NoveltyIndex("ab" * 30_000)
    assert [span.length for span in repetitive.copied_spans("ab" * 5000 + "c" + "ba" * 7)] == [
        10_000
    ]
