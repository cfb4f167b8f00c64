"""Generated texts on a terminal or in a pipe."""

from collections.abc import Sequence

from rich.rule import Rule

from quire.client.replies import Job, Text
from quire.terminal.console import out, write_text


def print_texts(texts: Sequence[Text]) -> None:
    """Print texts, with headings on a terminal or where there are several texts."""
    for text in texts:
        if out.is_terminal:
            seed = f", seed {text.seed}" if text.seed is not None else ""
            novelty = f" · {text.novelty.line()}" if text.novelty else ""
            heading = f"[dim]temperature[/] {temperature_label(text)}[dim]{seed}{novelty}[/]"
            out.print(Rule(heading, align="left", style="dim"))
            # The prompt is dimmed, so that a reader sees where the model's own text begins.
            write_text(text.prompt, dim=True, end="")
            write_text(text.whole.removeprefix(text.prompt), end="\n\n")
        else:
            if len(texts) > 1:
                novelty = f", {text.novelty.line()}" if text.novelty else ""
                write_text(f"--- temperature {temperature_label(text)}, seed {text.seed}{novelty}")
            write_text(text.whole)


def print_texts_of(job: Job) -> None:
    """Print the texts of a generation; the items of a list alone, without headings."""
    if job.spec.get("items"):
        _print_items(job.texts or [])
    else:
        print_texts(job.texts or [])


def _print_items(texts: Sequence[Text]) -> None:
    """Print items as a list: one a line; if one has several lines, with blank lines between."""
    items = [text.whole for text in texts]
    between = "\n\n" if any("\n" in item for item in items) else "\n"
    for item in items[:-1]:
        write_text(item, end=between)
    if items:
        write_text(items[-1])


def temperature_label(text: Text) -> str:
    """Format a text's temperature: ``0.5``, or ``1.2..0.4`` where it changes over the text."""
    last = text.temperature_to
    return f"{text.temperature:g}" if last is None else f"{text.temperature:g}..{last:g}"
