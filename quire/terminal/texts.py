"""Generated texts on a terminal or in a pipe."""

from collections.abc import Sequence

from rich.rule import Rule

from quire.client.replies import Job, Text
from quire.terminal.console import out, print_note, write_text


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
    """Print items as a list: one a line; if one has several lines, with blank lines between.

    What was thrown away goes to standard error.
    """
    kept = [text for text in texts if text.finish_reason != "exhausted"]
    if discarded := sum(text.discarded or 0 for text in texts):
        print_note(f"[dim]{_discarded_text(discarded, len(texts) - len(kept))}[/]")
    items = [_with_nearest(text) for text in kept]
    between = "\n\n" if any("\n" in item for item in items) else "\n"
    for item in items[:-1]:
        write_text(item, end=between)
    if items:
        write_text(items[-1])


def _with_nearest(text: Text) -> str:
    if text.nearest is None:
        return text.whole
    return f"{text.whole}\t{text.nearest.item}\t{text.nearest.distance}"


def _discarded_text(discarded: int, missing: int) -> str:
    """Say how many draws were thrown away, and how many items found nothing new."""
    said = f"{discarded:,} thrown away: they stand in the corpus, or came twice"
    return f"{said}. No new one was found for {missing:,}" if missing else said


def temperature_label(text: Text) -> str:
    """Format a text's temperature: ``0.5``, or ``1.2..0.4`` where it changes over the text."""
    last = text.temperature_to
    return f"{text.temperature:g}" if last is None else f"{text.temperature:g}..{last:g}"
