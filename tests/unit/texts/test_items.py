"""Lists cut into items: by lines, blank lines, a string, a column, or files."""

import csv
import json
from io import StringIO
from pathlib import Path

import pytest

from shared.texts.corpus_text import CorpusText
from shared.texts.decoding import Options, decode_files, normalise
from shared.texts.findings import ForbiddenCharacter, RefusedText
from shared.texts.items import ITEM_BEGIN, ITEM_END, ItemsOptions, NotItems, cut_into_items

TWEETS = Path(__file__).with_name("tweets.csv")


def found(text: CorpusText) -> list[str]:
    assert text.text.startswith(ITEM_BEGIN)
    assert text.text.endswith(ITEM_END)
    return text.text[1:-1].split(ITEM_END + ITEM_BEGIN)


@pytest.mark.parametrize(
    ("text", "options", "items"),
    [
        ("Ann\nBob\n\nCy", ItemsOptions("lines"), ["Ann", "Bob", "Cy"]),
        ("Ann\r\nBob \r\n", ItemsOptions("lines"), ["Ann", "Bob "]),
        ("a\nb\n\nc\n \n\t\nd\n", ItemsOptions("blank"), ["a\nb", "c", "d"]),
        ("a\n%\nb\nc\n%\n", ItemsOptions("separator", separator="%"), ["a", "b\nc"]),
        ("x | y | z", ItemsOptions("separator", separator=" | "), ["x", "y", "z"]),
        ("id,text\n1,a\n2,b\n", ItemsOptions("column", column="text"), ["a", "b"]),
        ("id,text\n1,a\n2,b\n", ItemsOptions("column", column="2"), ["a", "b"]),
        ('n;t\n1;"a;b"\n2;"c\nd"\n', ItemsOptions("column", column="t"), ["a;b", "c\nd"]),
        ("n\tt\n1\the said \"x\", then\n2\ty\n", ItemsOptions("column", column="t"),
         ['he said "x", then', "y"]),
        ('{"t": "a\\r\\nb"}\n\n{"t": "é", "n": 3}\n{"t": null}\n',
         ItemsOptions("column", column="t"), ["a\nb", "é"]),
    ],
)  # fmt: skip
def test_a_list_is_cut_into_its_items(text: str, options: ItemsOptions, items: list[str]) -> None:
    cut, about = cut_into_items(normalise(text), options)
    assert found(cut) == items
    assert (about.count, about.longest) == (len(items), max(map(len, items)))
    assert cut.characters == len(cut.text)
    assert set(cut.alphabet) == set(cut.text)
    assert set(cut.alphabet_lowercase) == set(cut.text.lower())


def test_each_file_is_an_item() -> None:
    files = [("a.txt", b"one\ntwo\n"), ("b.txt", "drei ü".encode()), ("c.txt", b"\xff\xfe4\x00")]
    cut, about = cut_into_items(decode_files(files, Options()), ItemsOptions("files"))
    assert found(cut) == ["one\ntwo", "drei ü", "4"]
    assert about.shape == "files"


def test_a_column_of_tweets_has_their_texts_alone() -> None:
    text = normalise(TWEETS.read_text())
    assert "csv" in [finding.code for finding in text.findings], "the upload says what it is"
    cut, about = cut_into_items(text, ItemsOptions("column", column="text"))
    rows = list(csv.DictReader(StringIO(TWEETS.read_text(), newline="")))
    assert found(cut) == [row["text"] for row in rows]
    assert about.count == len(rows)
    codes = [finding.code for finding in cut.findings]
    assert codes[0] == "items"
    assert "csv" not in codes
    lines, _ = cut_into_items(text, ItemsOptions("lines"))
    assert "csv" in [finding.code for finding in lines.findings], "its separators are learnt"


def test_the_findings_say_what_the_items_are() -> None:
    lines = "".join(f"Name{number % 50}\n" for number in range(60))
    assert "60 lines, median 6 characters: a list?" in str(normalise(lines).findings)
    assert "items=lines" in str(normalise(lines).findings)
    cut, _ = cut_into_items(normalise(lines + "\n  \n"), ItemsOptions("lines"))
    message = cut.findings[0].message
    assert message == (
        "60 items, median 6 characters, longest 6; 10 of them come again; "
        "2 empty ones were left out"
    )
    assert "list" not in [finding.code for finding in cut.findings]


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("one line", ItemsOptions("lines"), "one item with items: lines"),
        ("\n\n", ItemsOptions("lines"), "no item"),
        ("a,b\n1,2\n1,3\n", ItemsOptions("column", column="c"), "name one of 'a', 'b', or its"),
        ("a,b\n1,2\n1,3\n", ItemsOptions("column", column="3"), "no column '3'"),
        ("a,b\n1,2\n1\n", ItemsOptions("column", column="b"), "line 3 has 1 fields"),
        ('{"a": 1}\n{"a": 2}\n', ItemsOptions("column", column="a"), "'a' in line 1 is not a str"),
        ('{"a": "x"}\n{"b": "y"}\n', ItemsOptions("column", column="a"), "name one of 'b'"),
        ('{"a": "x"}\n[1]\n', ItemsOptions("column", column="a"), "line 2 is not a JSON object"),
        ('{"a": "x"}\n{"a"\n', ItemsOptions("column", column="a"), "line 2 is not JSON"),
    ],
)
def test_what_can_not_be_cut_says_why(text: str, options: ItemsOptions, says: str) -> None:
    with pytest.raises(RefusedText) as caught:
        cut_into_items(normalise(text), options)
    assert says in str(caught.value)
    assert (caught.value.finding.code, bool(caught.value.finding.ways)) == ("not_items", True)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"shape": "separator"}, "separator"),
        ({"shape": "column"}, "column"),
        ({"shape": "lines", "column": "a"}, "column"),
        ({"shape": "column", "column": "a", "separator": ","}, "separator"),
    ],
)
def test_options_that_do_not_go_together_are_named(fields: dict[str, str], field: str) -> None:
    with pytest.raises(NotItems) as caught:
        ItemsOptions(**fields)  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize("character", ["\0", ITEM_BEGIN, ITEM_END, "\ufffe"])
def test_json_can_not_bring_in_what_texts_must_not_hold(character: str) -> None:
    lines = f"{json.dumps({'t': 'a'})}\n{json.dumps({'t': 'b' + character})}\n"
    with pytest.raises(ForbiddenCharacter):
        cut_into_items(normalise(lines), ItemsOptions("column", column="t"))
