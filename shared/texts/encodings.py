"""The encodings that texts may have: codecs that read in linear time and hold text only."""

import codecs

from shared.texts.findings import UnknownEncoding

DEFAULT_ENCODING = "utf-8"
#: By the name that people know, which is also the name that replies give.
ENCODINGS = (
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"),
    *("ascii", "latin-1", *(f"iso8859-{number}" for number in (*range(2, 12), *range(13, 17)))),
    *(f"cp{page}" for page in range(1250, 1259)),
    *("cp437", "cp850", "cp852", "cp855", "cp866", "cp874"),
    *("koi8-r", "koi8-u", "mac_roman", "mac_cyrillic", "mac_greek", "mac_latin2", "mac_turkish"),
    *("gb18030", "gbk", "gb2312", "big5", "big5hkscs", "cp950"),
    *("shift_jis", "cp932", "euc-jp", "iso2022-jp", "euc-kr", "cp949", "johab"),
)
#: Python's own names of them, as `codecs.lookup` gives them, and the names above.
_NAMES = {codecs.lookup(name).name: name for name in ENCODINGS}
#: The name that BOM and standard spell: `utf-8-sig` reads as utf-8, whose BOM is removed anyway.
_ALIASES = {"utf-8-sig": "utf-8"}
#: The Windows page that has letters where an ISO page has C1 controls.
WINDOWS_PAGES = {
    "latin-1": "cp1252",
    "iso8859-2": "cp1250",
    "iso8859-5": "cp1251",
    "iso8859-6": "cp1256",
    "iso8859-7": "cp1253",
    "iso8859-8": "cp1255",
    "iso8859-9": "cp1254",
    "iso8859-13": "cp1257",
    "iso8859-15": "cp1252",
}
WIDE = frozenset(name for name in ENCODINGS if name.startswith(("utf-16", "utf-32")))
#: One byte for each character, so that every sequence of bytes reads as something.
SINGLE_BYTE = frozenset(
    name
    for name in ENCODINGS
    if name.startswith(("latin", "iso8859", "koi8", "mac_", "cp125", "cp4", "cp8"))
)


def known_encoding(name: str) -> str:
    """The name of an allowed encoding.

    Raises:
        UnknownEncoding: It is none of them; the message lists them.
    """
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = ""
    found = _ALIASES.get(found, found)
    if found not in _NAMES:
        raise UnknownEncoding(
            "unknown_encoding",
            f"{name!r} is not an encoding that texts may have",
            f"declare one of {', '.join(ENCODINGS)}",
        )
    return _NAMES[found]
