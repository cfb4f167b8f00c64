"""`quire generate`: generate texts with a model."""

from contextlib import nullcontext
from typing import Annotated, Any

import typer

from quire import config
from quire.client.outcome import require_success
from quire.commands.jobs.notify_option import Notify, notify_fields
from quire.commands.jobs.scheduling_options import (
    After,
    Deadline,
    Priority,
    StartBefore,
    scheduling_fields,
)
from quire.errors import ExitCode, InvalidInput
from quire.lookup import find_job, find_model
from quire.terminal.console import Json, err, out, print_json, print_note
from quire.terminal.texts import print_texts_of
from quire.watch.streaming import stream
from quire.watch.wait import Detached, print_detached, wait_for_job

#: The server holds a request for at most this long; after that the client polls.
WAIT_SECONDS = 10

Temperature = float | dict[str, float]

Unknown = Annotated[
    str | None,
    typer.Option(
        help="What to do with a character that the model has never seen: error, skip or replace.",
        show_default="error",
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        help="The checkpoint to use: best, latest, or a checkpoint's id.", show_default="best"
    ),
]


def generate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model, by name or id.")],
    prompt: Annotated[
        str | None,
        typer.Option(
            help="The beginning of the text; the model continues it.",
            show_default="a random piece of the corpus; of a list, the beginning of an item",
        ),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            help="How many characters to write at most; for a word model, how many words and "
            "punctuation marks.",
            show_default="400",
        ),
    ] = None,
    temperature: Annotated[
        str,
        typer.Option(
            metavar="T[,T…]",
            help="How adventurous the text is: 0 always takes the likeliest character, 1 follows "
            "the probabilities as learned, more is wilder. 1.2..0.4 goes from one to the other "
            "over the text; commas separate several temperatures.",
        ),
    ] = "0.5",
    top_k: Annotated[
        int | None, typer.Option("--top-k", help="Draw only from the K likeliest tokens.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p", help="Draw only from the likeliest tokens whose probabilities reach P."
        ),
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        typer.Option(help="Divide the probability of tokens among the last 64 by this number."),
    ] = None,
    n: Annotated[
        int, typer.Option("--n", "-n", help="How many texts to write at each temperature.")
    ] = 1,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="End the text before this string; repeat it for up to 4 strings."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The seed: the same seed gives the same texts.")
    ] = None,
    echo: Annotated[
        bool, typer.Option("--echo", help="With --json: include the prompt in the text.")
    ] = False,
    logprobs: Annotated[
        bool, typer.Option("--logprobs", help="With --json: show each token's log probability.")
    ] = False,
    top_logprobs: Annotated[
        int | None,
        typer.Option(
            "--top-logprobs",
            help="With --json: show that many of the likeliest tokens in each place, up to 10.",
        ),
    ] = None,
    copied_spans: Annotated[
        bool,
        typer.Option("--copied-spans", help="With --json: show what stands in the corpus."),
    ] = False,
    only_new: Annotated[
        bool,
        typer.Option(
            "--only-new",
            help="Of a list: draw again in place of items of the corpus, and of repeats.",
        ),
    ] = False,
    nearest: Annotated[
        bool,
        typer.Option(
            "--nearest",
            help="Of a list: after each item, a tab, the nearest item of the corpus, another tab, "
            "and how many characters differ.",
        ),
    ] = False,
    unknown: Unknown = None,
    checkpoint: Checkpoint = None,
    name: Annotated[
        str | None, typer.Option(help="The name of the job.", show_default="the model's name")
    ] = None,
    priority: Priority = None,
    after: After = None,
    start_before: StartBefore = None,
    deadline: Deadline = None,
    notify: Notify = None,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Wait for the texts, or only submit the job."),
    ] = True,
    streamed: Annotated[
        bool,
        typer.Option(
            "--stream", help="Show each text as it is written; several appear side by side."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Generate texts with a model.

    Texts go to standard output. Ctrl-C stops waiting; the job goes on.
    """
    if streamed and not wait:
        raise InvalidInput("--stream and --no-wait exclude each other: give one of them")
    body: dict[str, Any] = {
        "temperature": parse_temperatures(temperature),
        "n": n,
    }
    options = {
        "prompt": prompt,
        "length": length,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "stop": stop or None,
        "seed": seed,
        "echo": echo or None,
        "logprobs": logprobs or None,
        "top_logprobs": top_logprobs,
        "copied_spans": copied_spans or None,
        "only_new": only_new or None,
        "nearest": nearest or None,
        "unknown": unknown,
        "checkpoint": checkpoint,
        "name": name,
    }
    body |= {field: value for field, value in options.items() if value is not None}
    body |= scheduling_fields(priority, start_before, deadline) | notify_fields(notify)
    with config.connect() as client:
        if after is not None:
            body["after"] = find_job(client, after).id
        body["model"] = find_model(client, model).id
        spinner = err.status("generating", spinner_style="cyan")
        hold_request = wait and not streamed
        try:
            with spinner if err.is_terminal and hold_request else nullcontext():
                job = client.submit_generation(
                    body, wait_seconds=WAIT_SECONDS if hold_request else None
                )
        except KeyboardInterrupt:
            print_note("\nThe job may go on at the server: `quire jobs` shows it.")
            raise
        try:
            if streamed:
                job = stream(client, job, as_json=as_json)
            elif wait and not job.ended:
                job = wait_for_job(client, job, watch=not as_json)
        except (Detached, KeyboardInterrupt):
            print_detached(job)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if streamed and (as_json or job.spec["n"] * len(job.spec["temperatures"]) == 1):
        require_success(job)
        return
    if as_json:
        print_json(job)
    elif not wait:
        out.print(job.id)
        print_note(f"[dim]Queued. Wait for the texts:[/] quire job wait {job.id}")
    if wait:
        require_success(job)
        if as_json:
            return
        print_texts_of(job)


def parse_temperatures(text: str) -> Temperature | list[Temperature]:
    """Parse ``0.5``, ``1.2..0.4`` or ``0.2,0.5`` into what a request takes: one, or a list.

    Raises:
        InvalidInput: A part is neither a number nor two numbers with ``..`` between them.
    """
    try:
        values = [_parse_temperature(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = []
    if not values:
        raise InvalidInput(
            f"--temperature {text}: give one number, several with commas (0.2,0.5), or the first "
            "and last temperature of a text (1.2..0.4)"
        )
    return values[0] if len(values) == 1 else values


def _parse_temperature(text: str) -> Temperature:
    first, to, last = text.partition("..")
    return {"from": float(first), "to": float(last)} if to else float(text)
