"""Which encoding bytes are in: guesses, wrong declarations, and texts that were misread before."""

import pytest

from shared.texts.decoding import decode
from shared.texts.encodings import ENCODINGS
from shared.texts.findings import NotThisEncoding

QUOTED = "“The lantern – don’t touch it…” said Zoë to the keeper of the house.\n"
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастлива по-своему.\n"
CHINESE = "滿紙荒唐言,一把辛酸淚。都云作者癡,誰解其中味。\n"
POLISH = "Zażółć gęślą jaźń, mówił książę.\n"
GREEK = "Η γλώσσα μου έδωσαν ελληνική το σπίτι φτωχικό.\n"
HEBREW = "בראשית ברא אלהים את השמים ואת הארץ\n"
ARABIC = "كان يا ما كان في قديم الزمان\n"
THAI = "กาลครั้งหนึ่งนานมาแล้ว\n"
KOREAN = "나는 소년이었다. 그리고 그 여름은 길었다.\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"


def codes(text: object) -> list[str]:
    return [finding.code for finding in text.findings]  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "written", ["Hi you", QUOTED * 20, RUSSIAN, JAPANESE, CHINESE, KOREAN, HEBREW, THAI]
)
def test_without_a_bom_the_guess_is_named(encoding: str, written: str) -> None:
    data = written.encode(encoding)
    with pytest.raises(NotThisEncoding, match=f"declare encoding={encoding}"):
        decode(data)
    assert decode(data, encoding).text == written


def test_iso_2022_is_known_by_its_escapes() -> None:
    data = (JAPANESE * 3).encode("iso2022-jp")
    with pytest.raises(NotThisEncoding, match="declare encoding=iso2022-jp"):
        decode(data)
    assert decode(data, "iso2022-jp").text == JAPANESE * 3


def test_what_is_right_is_never_refused_for_a_better_guess() -> None:
    icelandic = "Það er gott að vera hér á Íslandi þegar sólin skín.\n" * 9
    turkish = "Pijamalı hasta yağız şoföre çabucak güvendi.\n" * 9
    latvian = "Šodien ir ļoti jauks laiks, ķēniņš gāja mežā.\n" * 9
    ukrainian = "Ще не вмерла України і слава, і воля.\n" * 9
    for encoding, written in (
        ("cp1252", icelandic),
        ("cp1254", turkish),
        ("cp1257", latvian),
        ("iso8859-13", latvian),
        ("koi8-u", ukrainian),
        ("cp1251", ukrainian.upper()),
        ("mac_cyrillic", RUSSIAN * 9),
        ("gb18030", CHINESE * 9),
        ("euc-jp", JAPANESE * 9),
        ("johab", KOREAN * 9),
    ):
        assert decode(written.encode(encoding), encoding).text == written


def test_a_text_of_two_encodings_is_told_to_be_one() -> None:
    data = (QUOTED * 20).encode() + (QUOTED * 20).encode("cp1252")
    with pytest.raises(NotThisEncoding, match="other lines are") as error:
        decode(data)
    assert error.value.finding.code == "partly_utf_8"
    assert "encoding=" not in str(error.value)


@pytest.mark.parametrize(
    "misread",
    [
        RUSSIAN.encode().decode("cp1251", "ignore"),
        RUSSIAN.encode("cp1251").decode("latin-1"),
        QUOTED.encode().decode("cp1252", "ignore"),
        "été à côté".encode().decode("latin-1"),
    ],
)
def test_mojibake_is_told(misread: str) -> None:
    assert "mojibake" in codes(decode((misread * 9).encode()))
    for right in (RUSSIAN, POLISH, GREEK, CHINESE, QUOTED, "é à ç ñ\n"):
        assert "mojibake" not in codes(decode((right * 9).encode()))


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("cp1252", QUOTED * 30),
        ("cp1251", RUSSIAN * 30),
        ("koi8-r", RUSSIAN * 30),
        ("gb18030", CHINESE * 30),
        ("big5", CHINESE * 30),
        ("cp932", JAPANESE * 30),
        ("euc-jp", JAPANESE * 30),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy.\n" * 30),
        ("cp1251", RUSSIAN),
        ("cp866", RUSSIAN),
        ("iso8859-5", RUSSIAN),
        ("mac_cyrillic", RUSSIAN * 30),
        ("iso8859-2", POLISH),
        ("cp1250", POLISH),
        ("cp1253", GREEK),
        ("cp1255", HEBREW),
        ("cp1256", ARABIC),
        ("cp874", THAI),
        ("cp949", KOREAN),
        ("euc-jp", JAPANESE),
        ("big5", CHINESE),
        ("mac_roman", QUOTED * 30),
        ("cp850", "déjà vu au café\n" * 30),
    ],
)
def test_the_likeliest_encodings_are_offered_with_a_line_of_the_text(
    encoding: str, written: str
) -> None:
    with pytest.raises(NotThisEncoding) as error:
        decode(written.encode(encoding))
    ways = error.value.finding.ways
    assert any(written[:15] in way for way in ways), ways
    assert all(way.split("encoding=")[1].split(",")[0] in ENCODINGS for way in ways)
    assert "latin-1" not in str(error.value)
    # What is offered works, and reads as shown.
    right = next(way for way in ways if written[:15] in way)
    assert decode(written.encode(encoding), right.split("encoding=")[1].split(",")[0])


@pytest.mark.parametrize(
    ("encoding", "declared", "written"),
    [
        ("cp1252", "latin-1", QUOTED * 30),
        ("utf-8", "latin-1", QUOTED * 30),
        ("utf-8", "cp1252", QUOTED),
        ("utf-8", "gb18030", CHINESE),
        ("utf-8", "utf-16-le", QUOTED),
        ("gb18030", "latin-1", CHINESE * 30),
        ("cp1251", "latin-1", RUSSIAN * 30),
        ("koi8-r", "cp1252", RUSSIAN * 30),
        ("koi8-r", "cp1251", RUSSIAN * 30),
        ("cp1251", "koi8-r", RUSSIAN * 30),
        ("mac_roman", "cp1252", QUOTED * 30),
        ("cp932", "gb18030", JAPANESE * 30),
        ("iso8859-15", "latin-1", "Un cœur naïf coûte déjà cher.\n" * 9),
        ("iso8859-15", "latin-1", "Le cœur et la sœur, une œuvre.\n" * 9),
        ("iso8859-15", "cp1252", "Le café coûte 20 €.\n" * 9),
    ],
)
def test_a_wrong_declaration_is_refused_with_the_better_guess(
    encoding: str, declared: str, written: str
) -> None:
    with pytest.raises(NotThisEncoding, match=f"encoding={encoding}"):
        decode(written.encode(encoding), declared)


@pytest.mark.parametrize("written", ["1½ tasses de café, ¾ de lait\n", "l’été à 3 € — déjà\n"])
@pytest.mark.parametrize("declared", ["latin-1", "cp1252"])
def test_fractions_and_typographic_marks_are_no_other_encoding(written: str, declared: str) -> None:
    if declared == "latin-1":
        written = written.translate({0x2019: "'", 0x20AC: "F", 0x2014: "-"})
    assert decode((written * 9).encode(declared), declared).text == written * 9
