"""`quire next`: which tokens may follow a prompt, and how likely each is."""

from typing import Annotated, Any

import typer

from quire import config
from quire.client.replies import NextTokens
from quire.commands.jobs.generate import WAIT_SECONDS, Checkpoint, Unknown
from quire.errors import ExitCode, InvalidInput
from quire.lookup import find_model
from quire.terminal.console import Json, escape, out, print_json, print_table
from quire.watch.wait import Detached, print_detached, require_success, wait_for_job


def next_tokens(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model, by name or id.")],
    prompt: Annotated[str, typer.Argument(help="What is to be continued.")],
    temperature: Annotated[
        str,
        typer.Option(metavar="T[,T…]", help="One temperature, or several with commas between."),
    ] = "1",
    top: Annotated[int | None, typer.Option(help="How many of the likeliest to list.")] = None,
    unknown: Unknown = None,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Show which tokens may follow a prompt, and how likely each is."""
    options = {"top": top, "unknown": unknown, "checkpoint": checkpoint}
    body: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    body |= {"prompt": prompt, "temperature": _temperatures(temperature)}
    with config.connect() as client:
        body["model"] = find_model(client, model).id
        job = client.next_tokens(body, wait_seconds=WAIT_SECONDS)
        try:
            job = job if job.ended else wait_for_job(client, job, watch=not as_json)
        except (Detached, KeyboardInterrupt):
            print_detached(job)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        print_json(job)
    require_success(job)
    if not as_json:
        [text] = job.texts or []
        for each in text.next or []:
            _print(each)


def _print(found: NextTokens) -> None:
    out.print(
        f"[dim]temperature[/] {found.temperature:g}[dim], {found.entropy_bits:.2f} bits, "
        f"{found.rest:.2%} for all others[/]"
    )
    print_table(
        ("TOKEN", "PROBABILITY>"),
        [(escape(repr(each.token)), f"{each.probability:.4f}") for each in found.tokens],
        empty="No tokens.",
    )


def _temperatures(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInput(
            f"--temperature {text}: give one number, or several with commas (0.2,0.5)"
        ) from None
