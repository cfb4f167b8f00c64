"""`generate`, `texts` and `score`: let a model write, read what it wrote, let it read."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.rule import Rule

from quire import config
from quire.client.replies import Text
from quire.commands.lookup import find_job, find_model
from quire.commands.options import After, Deadline, Priority, StartBefore, order_fields
from quire.errors import ExitCode, InvalidInput
from quire.terminal import formatting
from quire.terminal.console import Json, err, out, print_json, print_note, print_table
from quire.watch.streaming import stream
from quire.watch.wait import Detached, print_detached, require_success, wait_for_job

#: How long one request may wait for the texts before polling takes over.
WAIT_SECONDS = 10
PREVIEW_CHARACTERS = 50

Temperature = float | dict[str, float]


def generate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model, by name or id.")],
    prompt: Annotated[
        str | None,
        typer.Option(help="How the text begins; a random piece of the corpus by default."),
    ] = None,
    length: Annotated[
        int,
        typer.Option(help="Characters to write; with a model of words, words and punctuation."),
    ] = 400,
    temperature: Annotated[
        str,
        typer.Option(
            metavar="T[,T…]",
            help="Low is careful, 1 is as learnt, high is wild; 0 never dares. 1.2..0.4 cools "
            "down over the text.",
        ),
    ] = "0.5",
    top_k: Annotated[
        int | None, typer.Option("--top-k", help="Draw from the K likeliest tokens only.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", help="Draw from the likeliest share P only.")
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        typer.Option(help="Divide the probability of what came in the last 64 tokens."),
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", help="Texts per temperature.")] = 1,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="End before this string; may be given up to 4 times."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same texts.")] = None,
    echo: Annotated[
        bool, typer.Option("--echo", help="With --json: the prompt stands before the text.")
    ] = False,
    logprobs: Annotated[
        bool, typer.Option("--logprobs", help="With --json: how likely each token was.")
    ] = False,
    unknown: Annotated[
        str | None,
        typer.Option(
            help="A character in the prompt that the model never saw: error, skip or replace."
        ),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="best (default), latest, or a checkpoint's id.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The job's name.")] = None,
    priority: Priority = None,
    after: After = None,
    start_before: StartBefore = None,
    deadline: Deadline = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the texts, or only queue the job.")
    ] = True,
    streamed: Annotated[
        bool,
        typer.Option(
            "--stream", help="Show the text as it is written; several texts side by side."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a model write.

    Texts go to standard output. Ctrl-C while waiting leaves the job running.
    """
    if streamed and not wait:
        raise InvalidInput("--stream and --no-wait: give one of them")
    body: dict[str, Any] = {
        "length": length,
        "temperature": parse_temperatures(temperature),
        "n": n,
    }
    options = {
        "prompt": prompt,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "stop": stop or None,
        "seed": seed,
        "echo": echo or None,
        "logprobs": logprobs or None,
        "unknown": unknown,
        "checkpoint": checkpoint,
        "name": name,
    }
    body |= {field: value for field, value in options.items() if value is not None}
    body |= order_fields(priority, start_before, deadline)
    with config.connect() as client:
        if after is not None:
            body["after"] = find_job(client, after).id
        body["model"] = find_model(client, model).id
        spinner = err.status("writing", spinner_style="cyan")
        at_once = wait and not streamed
        try:
            with spinner if err.is_terminal and at_once else nullcontext():
                job = client.generate(body, wait_seconds=WAIT_SECONDS if at_once else None)
        except KeyboardInterrupt:
            print_note("\nThe server may go on writing: `quire jobs` shows it.")
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
        print_note(f"[dim]Queued. Wait for its texts:[/] quire job wait {job.id}")
    if wait:
        require_success(job)
        if not as_json:
            print_texts(job.texts or [])


def parse_temperatures(text: str) -> Temperature | list[Temperature]:
    """``0.5``, ``1.2..0.4`` or ``0.2,0.5``, to what a request says: one, or a list.

    Raises:
        InvalidInput: A part is neither a number nor two.
    """
    try:
        values = [_parse_temperature(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = []
    if not values:
        raise InvalidInput(
            f"--temperature {text}: give one number, several with commas, such as 0.2,0.5, or "
            "the first and the last of a text, such as 1.2..0.4"
        )
    return values[0] if len(values) == 1 else values


def _parse_temperature(text: str) -> Temperature:
    first, to, last = text.partition("..")
    return {"from": float(first), "to": float(last)} if to else float(text)


def score(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model, by name or id.")],
    file: Annotated[
        Path | None,
        typer.Argument(help="The text's file, UTF-8; standard input if it is - or not given."),
    ] = None,
    text: Annotated[str | None, typer.Option(help="The text itself, instead of a file.")] = None,
    unknown: Annotated[
        str | None,
        typer.Option(help="A character that the model never saw: error, skip or replace."),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="best (default), latest, or a checkpoint's id.")
    ] = None,
    logprobs: Annotated[
        bool, typer.Option("--logprobs", help="With --json: how likely each token was.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell how likely a model finds a text, in bits per character: the fewer, the likelier."""
    if text is not None and file is not None:
        raise InvalidInput(f"--text and {file}: give one of them")
    body: dict[str, Any] = {"text": _read_text(file) if text is None else text}
    options = {"unknown": unknown, "checkpoint": checkpoint, "logprobs": logprobs or None}
    body |= {field: value for field, value in options.items() if value is not None}
    with config.connect() as client:
        body["model"] = find_model(client, model).id
        job = client.score(body, wait_seconds=WAIT_SECONDS)
        if not job.ended:
            job = wait_for_job(client, job, watch=not as_json)
    if as_json:
        print_json(job)
    require_success(job)
    if not as_json:
        [scored] = job.texts or []
        if scored.bits_per_char is None:
            raise InvalidInput("a text of one character can't be judged: give a longer one")
        out.print(f"{scored.bits_per_char:.4f} [dim]bits per character[/]")


def _read_text(file: Path | None) -> str:
    try:
        if file is None or str(file) == "-":
            return sys.stdin.buffer.read().decode()
        return file.read_bytes().decode()
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{file or 'standard input'} is not UTF-8 at byte {error.start}: convert it first"
        ) from None


def print_texts(texts: Sequence[Text], *, columns: int | None = None) -> None:
    """Print texts; a heading for each where there are several or a person reads."""
    for text in texts:
        if out.is_terminal:
            seed = f", seed {text.seed}" if text.seed is not None else ""
            novelty = f" · {text.novelty.line()}" if text.novelty else ""
            heading = f"[dim]temperature[/] {_temperature(text)}[dim]{seed}{novelty}[/]"
            out.print(Rule(heading, align="left", style="dim"), width=columns)
            # The prompt is dimmed, so that it is plain where the model begins.
            written = escape(text.whole.removeprefix(text.prompt))
            out.print(f"[dim]{escape(text.prompt)}[/]{written}\n", width=columns)
        else:
            if len(texts) > 1:
                novelty = f", {text.novelty.line()}" if text.novelty else ""
                typer.echo(f"--- temperature {_temperature(text)}, seed {text.seed}{novelty}")
            typer.echo(text.whole)


def _temperature(text: Text) -> str:
    last = text.temperature_to
    return f"{text.temperature:g}" if last is None else f"{text.temperature:g}..{last:g}"


def list_texts(
    model: Annotated[str | None, typer.Option(help="Only what this model wrote.")] = None,
    job: Annotated[str | None, typer.Option(help="Only what this job wrote.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Print whole texts, not a list.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the texts that models wrote."""
    with config.connect() as client:
        found = []
        for text in client.texts(
            model=find_model(client, model).id if model else None,
            job=find_job(client, job).id if job else None,
        ):
            found.append(text)
            if len(found) == limit:
                break
    if as_json:
        print_json(found)
    elif full:
        print_texts(found)
    else:
        print_table(
            ("TEXT", "TEMP.>", "WRITTEN"),
            [
                (
                    escape(_preview(text.whole)),
                    _temperature(text),
                    formatting.ago(text.created_at),
                )
                for text in found
            ],
            empty="No texts yet: `quire generate MODEL` writes one.",
        )


def _preview(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= PREVIEW_CHARACTERS else line[: PREVIEW_CHARACTERS - 1] + "…"
