"""The options that say how an uploaded list is cut into items."""

from typing import Annotated, TypedDict

import typer

Items = Annotated[
    str | None,
    typer.Option(
        metavar="SHAPE",
        help="The text is a list, whose items a model learns one by one: lines (one a line), blank "
        "(blank lines between them), separator, column (of CSV, TSV or JSON lines), or files (each "
        "file is one).",
    ),
]
Separator = Annotated[
    str | None,
    typer.Option(
        help="With --items separator: what stands between two items. A shell writes a line end as "
        "$'\\n'."
    ),
]
Column = Annotated[
    str | None,
    typer.Option(
        help="With --items column: the column's name, or its number from 1 on.",
    ),
]


class Shape(TypedDict):
    """The fields of an upload that say what its items are; None leaves a field out."""

    items: str | None
    separator: str | None
    column: str | None


TEXT: Shape = {"items": None, "separator": None, "column": None}


def shape(items: str | None, separator: str | None, column: str | None) -> Shape:
    """The shape of an upload. A separator or a column says by itself what the items are."""
    if items is None and separator is not None and column is None:
        items = "separator"
    if items is None and column is not None and separator is None:
        items = "column"
    return {"items": items, "separator": separator, "column": column}
