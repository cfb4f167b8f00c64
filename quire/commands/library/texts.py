"""`quire texts`: the texts that models have written."""

from typing import Annotated

import typer

from quire import config
from quire.lookup import find_job, find_model
from quire.terminal import formatting
from quire.terminal.console import Json, escape, print_json, print_table
from quire.terminal.texts import print_texts, temperature_label

PREVIEW_CHARACTERS = 50


def list_texts(
    model: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only texts of this model.")
    ] = None,
    job: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only texts of this job.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Print the whole texts instead of a table.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="The most texts to show.")] = 20,
    as_json: Json = False,
) -> None:
    """List the texts that models have written, newest first."""
    with config.connect() as client:
        texts = []
        for text in client.texts(
            model=find_model(client, model).id if model else None,
            job=find_job(client, job).id if job else None,
        ):
            texts.append(text)
            if len(texts) == limit:
                break
    if as_json:
        print_json(texts)
    elif full:
        print_texts(texts)
    else:
        print_table(
            ("TEXT", "TEMP.>", "CREATED"),
            [
                (
                    escape(_preview(text.whole)),
                    temperature_label(text),
                    formatting.ago(text.created_at),
                )
                for text in texts
            ],
            empty="No texts yet. `quire generate MODEL` writes one.",
        )


def _preview(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= PREVIEW_CHARACTERS else line[: PREVIEW_CHARACTERS - 1] + "…"
