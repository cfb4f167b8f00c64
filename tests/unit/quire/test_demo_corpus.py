"""The demo's corpus: the prose of Python's manual, a prompt, and the share of known words."""

import re

import pytest

from quire.server import demo_corpus
from quire.server.demo_corpus import (
    plausible,
    prose,
    python_manual,
    share_known,
    suggest_prompt,
    written_words,
)

SENTENCES = """\
Assert statements are a convenient way to insert debugging assertions
into a program that is still being written."""
MANUAL = f"""\
The "assert" statement of the language and how it is used in programs
*********************************************************************

{SENTENCES}

   assert_stmt ::= "assert" expression ["," expression] and so on, as a rule of the grammar.

   if __debug__:
       if not expression1: raise AssertionError(expression2) or whatever else it may be

>>> print("a doctest that has more than a dozen words in it, all of them harmless.")
a doctest

+-----------+--------------------------------------------------------+
| Operator  | Description of what it does with its operands, in full. |
+===========+========================================================+

   {SENTENCES.replace(chr(10), chr(10) + "   ")}

* A bullet is a sentence too, once the sign in front of it has been taken away.
"""


def test_only_paragraphs_of_prose_are_kept_once() -> None:
    bullet = "A bullet is a sentence too, once the sign in front of it has been taken away."
    assert prose(MANUAL) == f"{SENTENCES}\n\n{bullet}\n"


def test_the_manual_is_prose_and_long_enough_to_learn_from() -> None:
    text = python_manual()
    assert len(text) > 200_000
    assert not re.search(r"[=*~^+-]{4}|^>>>|::=|\||^ ", text, re.MULTILINE)
    paragraphs = text.strip().split("\n\n")
    assert all(len(paragraph.split()) >= 12 for paragraph in paragraphs)
    assert len(paragraphs) == len(set(paragraphs))


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("The soul is. The soul was! A man came. then The mind.", "The soul"),
        ("A Man sleeps. It is. If one dreams\n\nIt is late. If one wakes.", "It is"),
        ("no sentence here", "no sentence"),
        ("", ""),
    ],
)
def test_the_prompt_is_the_most_frequent_start_of_a_sentence(text: str, prompt: str) -> None:
    assert suggest_prompt(text) == prompt


def test_the_prompt_of_the_manual_occurs_in_it() -> None:
    text = python_manual()
    prompt = suggest_prompt(text)
    assert re.fullmatch(r"[A-Z][a-z]+ [a-z]+", prompt)
    assert text.count(prompt) > 20


def test_without_the_book_the_demo_uses_the_manual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_corpus, "download", lambda _address: None)
    corpus = demo_corpus.find(None)
    assert corpus.name == "python-manual"
    assert corpus.text == python_manual()


def test_written_words_are_whole() -> None:
    # «ma|n's soul is not ye|…»: «man's» began in the prompt and counts; «ye» was cut off.
    assert written_words("the ma", "n's soul is not ye") == ["man's", "soul", "is", "not"]
    assert written_words("ght ", "man.") == ["man"]
    assert written_words("", "") == []


def test_the_share_of_known_words() -> None:
    assert share_known(["the", "soul", "xqz", "is"], "The soul. Is it?") == 0.75
    assert share_known([], "x") == 0.0


def test_a_page_that_is_not_the_book_is_no_corpus() -> None:
    assert plausible(b"<html>not found</html>") is None
    assert plausible(b"x" * 600_000) is None
    book = "PREFACE\nOn Philosophy, morality, and the free spirit.\n" * 11_000
    assert plausible(book.encode()) == book
