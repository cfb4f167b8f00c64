"""`quire texts`: the texts that models have written."""

from typing import Annotated

import typer

from quire import config
from quire.errors import InvalidInput
from quire.lookup import find_job, find_model
from quire.terminal import formatting
from quire.terminal.console import Json, escape, print_json, print_outcome, print_table
from quire.terminal.texts import print_texts, temperature_label

PREVIEW_CHARACTERS = 50


def list_texts(
    model: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only texts of this model.")
    ] = None,
    job: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only texts of this job.")
    ] = None,
    kept: Annotated[bool, typer.Option("--kept", help="Only texts that you keep.")] = False,
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
            kept=True if kept else None,
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
            (*(["ID", "NOTE"] if kept else []), "TEXT", "TEMP.>", "CREATED"),
            [
                (
                    *([text.id, escape(_preview(text.note or ""))] if kept else []),
                    escape(_preview(text.whole)),
                    temperature_label(text),
                    formatting.ago(text.created_at),
                )
                for text in texts
            ],
            empty="You keep no texts. `quire keep ID` keeps one."
            if kept
            else "No texts yet. `quire generate MODEL` writes one.",
        )


def keep(
    reference: Annotated[
        str, typer.Argument(metavar="ID", help="The text's id, as `quire texts --json` shows it.")
    ],
    note: Annotated[str | None, typer.Option(help="Why you keep it.")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Keep it no longer; its note goes.")] = False,
    as_json: Json = False,
) -> None:
    """Keep a text, with a note or without one."""
    if drop and note is not None:
        raise InvalidInput("--drop and --note contradict each other: give one of them")
    changes: dict[str, object] = {"kept": not drop}
    if note is not None:
        changes["note"] = note
    with config.connect() as client:
        text = client.update_text(reference, changes)
    line = "Kept" if text.kept else "No longer kept"
    print_outcome(text, as_json, f"{line}: {escape(_preview(text.whole))}")


def _preview(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= PREVIEW_CHARACTERS else line[: PREVIEW_CHARACTERS - 1] + "…"
