"""The page of a report: contents in, HTML out. The same contents give the same page.

Whatever people wrote goes through `escape`, so that a corpus with markup in it shows it.
"""

from collections.abc import Iterable
from html import escape
from importlib.resources import files

from quire.client.replies import Metric, Text
from quire.report.charts import charts
from quire.report.contents import ReportContents
from quire.report.elements import bits, epoch, plain, table, when
from quire.terminal import formatting
from quire.watch.history import ROUTINE, describe_event
from shared.specs.presets import PRESETS

#: No request leaves the page, whatever is in it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
#: The temperature that is read first is the one nearest to this.
FIRST_TEMPERATURE = 0.5
ENDINGS = {"failed": "It failed", "cancelled": "It was cancelled"}


def page(contents: ReportContents) -> str:
    """A whole page, complete in itself."""
    sections = (
        _head(contents),
        charts(contents),
        _judged_table(contents),
        _texts(contents),
        _checkpoints(contents),
        _numbers(contents),
        _origin(contents),
        _history(contents),
    )
    body = "\n".join(section for section in sections if section)
    style = files("quire.report").joinpath("report.css").read_text(encoding="utf-8")
    style += _choices(len(contents.texts_by_temperature()))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="quire">
<title>{escape(contents.name)}: how it learned to write</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _head(contents: ReportContents) -> str:
    job, spec = contents.job, contents.job.spec
    layers = spec.get("layers", 1)
    network = f"{layers} LSTM layers of {spec.get('units')} units"
    if layers == 1:
        network = f"one LSTM layer of {spec.get('units')} units"
    corpus = contents.corpus
    source = "a corpus that is gone, or not yours to see"
    if corpus is not None:
        source = f"<em>{escape(corpus.name)}</em>, {formatting.count(corpus.characters)} characters"
    lede = (
        f"How a network of {network}, with the preset <em>{escape(str(spec.get('preset')))}</em>, "
        f"learned to write like {source}."
    )
    figures = "\n".join(
        f"<div><dt>{name}</dt><dd>{value}<small>{below}</small></dd></div>"
        for name, value, below in _figures(contents)
    )
    return f"""<header>
<p class="kicker">Training report · {when(job.started_at or job.created_at)}</p>
<h1>{escape(contents.name)}</h1>
<p class="lede">{lede}</p>
{_ending(contents)}
<dl class="figures">
{figures}
</dl>
</header>"""


def _ending(contents: ReportContents) -> str:
    job = contents.job
    if job.status in ENDINGS:
        reason = f": {escape(job.error.line())}" if job.error else "."
        return f'<p class="failed">{ENDINGS[job.status]}{reason}</p>'
    if not job.ended:
        step = contents.points[-1].step
        return f'<p class="failed">It is {job.status}; this page shows it as of step {step:,}.</p>'
    return ""


def _figures(contents: ReportContents) -> Iterable[tuple[str, str, str]]:
    best, last = contents.best, contents.points[-1]
    if best is not None and best.val_loss is not None:
        yield (
            "best validation loss",
            formatting.loss(best.val_loss),
            f"{bits(best.bits_per_char)} bits per character, epoch {best.epoch:g}",
        )
    epochs = contents.job.progress.epochs if contents.job.progress else None
    total = f" of {epochs:,.4g}" if epochs else ""
    yield "epochs", f"{last.epoch:.4g}{total}", f"{last.step:,} steps"
    if contents.seconds is not None:
        started = when(contents.job.started_at)
        yield "duration", formatting.duration(contents.seconds), f"from {started.split(' ', 1)[1]}"
    if contents.characters_per_second:
        yield "characters per second", formatting.count(contents.characters_per_second), "median"


def _judged_table(contents: ReportContents) -> str:
    if not contents.judged:
        return ""
    best = contents.best
    rows = [
        (
            epoch(point),
            f"{point.step:,}",
            formatting.loss(point.loss),
            formatting.loss(point.val_loss),
            bits(point.bits_per_char),
            f"{point.learning_rate:.3g}" if point.learning_rate is not None else "",
            formatting.count(point.characters_per_second or 0),
        )
        for point in contents.judged
    ]
    marked = {contents.judged.index(best)} if best is not None else set()
    head = (
        "epoch>", "step>", "training loss>", "validation loss>", "bits per character>",
        "learning rate>", "characters per second>",
    )  # fmt: skip
    return (
        f"<details>\n<summary>The numbers behind the curves</summary>\n"
        f"{table('Loss at the end of each epoch; the best is marked', head, rows, marked)}\n"
        "</details>"
    )


def _texts(contents: ReportContents) -> str:
    found = contents.texts_by_temperature()
    if not found:
        return (
            "<section>\n<h2>What it wrote</h2>\n<p>This training wrote no texts as it learned: "
            "<code>quire train --sample</code> makes one that does.</p>\n</section>"
        )
    first = min(found, key=lambda heat: (abs(heat - FIRST_TEMPERATURE), heat))
    judged = {point.step: point for point in contents.judged}
    choices = "\n".join(
        f'<input type="radio" name="heat" id="heat-{i}"{" checked" if heat == first else ""}>'
        f'<label for="heat-{i}">{heat:g}</label>'
        for i, heat in enumerate(found)
    )
    columns = "\n".join(
        f'<section class="heat" id="texts-{i}" aria-label="Temperature {heat:g}">\n'
        f"<h3>Temperature {heat:g}</h3>\n"
        + "\n".join(_text(text, judged.get(text.step or 0)) for text in texts)
        + "\n</section>"
        for i, (heat, texts) in enumerate(found.items())
    )
    return f"""<section class="writing">
<h2>How it learned to write</h2>
<p>Read down the epochs. A low temperature is careful and repeats itself, 1 is as learnt, above it
the network grows wild. Each text begins where the <span class="prompt">grey piece of the
corpus</span> ends.</p>
<fieldset class="heats">
<legend>Temperature</legend>
{choices}
</fieldset>
{columns}
</section>"""


def _text(text: Text, point: Metric | None) -> str:
    title = f"Epoch {text.epoch:g}" if text.epoch is not None else "A text"
    below = [f"step {text.step:,}"] if text.step is not None else []
    if point is not None:
        below.append(f"validation {formatting.loss(point.val_loss)}")
    notes = " ".join(f"<small>{each}</small>" for each in below)
    return (
        f'<article class="epoch">\n<h4>{title} {notes}</h4>\n'
        f'<p class="text" dir="auto"><span class="prompt">{escape(text.prompt)}</span>'
        f"{escape(text.text)}</p>\n</article>"
    )


def _choices(count: int) -> str:
    """The style by which one temperature is shown at a time; printed, or without it, all are."""
    hidden = "".join(
        f".writing:not(:has(#heat-{i}:checked)) #texts-{i} {{ display: none; }}\n"
        for i in range(count)
    )
    return f"@media screen {{\n.heat h3 {{ display: none; }}\n{hidden}}}\n"


def _checkpoints(contents: ReportContents) -> str:
    if not contents.checkpoints:
        return ""
    aliases = contents.job.checkpoints
    rows, marked = [], set()
    for number, each in enumerate(contents.checkpoints):
        called = [alias for alias in ("best", "latest") if aliases.get(alias) == each.id]
        if "best" in called:
            marked.add(number)
        rows.append(
            (
                f"<strong>{', '.join(called)}</strong>",
                f"{each.epoch:.4g}" if each.epoch is not None else "",
                f"{each.step:,}",
                formatting.loss(each.val_loss),
                formatting.size(each.bytes),
                f"<code>{escape(each.digest or '')}</code>",
            )
        )
    head = ("", "epoch>", "step>", "validation loss>", "size>", "digest (SHA-256)")
    listed = table("The checkpoints that are kept", head, rows, marked)
    return (
        "<section>\n<h2>Checkpoints</h2>\n<p>The digest is taken over all variables and the "
        "loop's state: the same training on the same kind of processor has the same.</p>\n"
        f"{listed}\n</section>"
    )


def _numbers(contents: ReportContents) -> str:
    spec = dict(contents.job.spec)
    preset = PRESETS.get(spec.get("preset", ""))
    usual = preset.model_dump() if preset else {}
    rows = []
    for name, value in spec.items():
        changed = name in usual and usual[name] != value
        note = f"the preset has {plain(usual[name])}" if changed else ""
        rows.append((escape(name.replace("_", " ")), escape(plain(value)), escape(note)))
    return f"<section>\n<h2>Numbers</h2>\n{table('', ('', '', ''), rows)}\n</section>"


def _origin(contents: ReportContents) -> str:
    corpus, made_on = contents.corpus, contents.fingerprint
    versions = ", ".join(
        f"{name} {made_on[name]}" for name in ("tensorflow", "keras", "numpy") if name in made_on
    )
    features = made_on.get("cpu_features") or []
    device = " ".join(str(made_on[name]) for name in ("device", "machine") if name in made_on)
    rows = [
        ("corpus", escape(corpus.name) if corpus else "gone, or not yours to see"),
        ("its SHA-256", f"<code>{escape(corpus.sha256 or '')}</code>" if corpus else ""),
        ("job", f"<code>{escape(contents.job.id)}</code>"),
        ("model", f"<code>{escape(contents.job.model or 'deleted')}</code>"),
        ("run by", escape(", ".join(contents.workers))),
        ("device", escape(f"{device} ({', '.join(features)})" if features else device)),
        ("versions", escape(versions)),
    ]
    listed = table("", ("", ""), [row for row in rows if row[1]])
    return f"<section>\n<h2>Where it comes from</h2>\n{listed}\n</section>"


def _history(contents: ReportContents) -> str:
    rows = [
        (when(event.at), escape(describe_event(event)))
        for event in contents.events
        if event.type not in ROUTINE
    ]
    listed = table("What happened, in UTC", ("when", "what"), rows)
    return (
        f"<section>\n<h2>History</h2>\n{listed}\n</section>\n"
        "<footer><p>Written by <code>quire report</code>. Losses are in nats per "
        f"{contents.token}, times are UTC. This page loads nothing and runs no script.</p></footer>"
    )
