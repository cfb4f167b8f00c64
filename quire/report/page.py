"""Render the contents of a report as HTML. The same contents give the same page.

Everything that people wrote goes through `escape`, so that markup in it is shown as text.
"""

from collections.abc import Iterable
from html import escape
from importlib.resources import files

from quire.client.replies import Metric, Text
from quire.report.charts import render_charts
from quire.report.contents import ReportContents
from quire.report.elements import bits, epoch, plain, table, when
from quire.report.pieces import render_pieces
from quire.terminal import formatting
from quire.watch.history import ROUTINE, describe_event
from shared.specs.presets import PRESETS

#: The browser sends no request, whatever the page contains.
CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
#: The page first shows the texts of the temperature nearest to this.
FIRST_TEMPERATURE = 0.5
NOT_SUCCEEDED = {
    "failed": "The training failed",
    "cancelled": "The training was cancelled",
}


def render_page(contents: ReportContents) -> str:
    """Render the whole page, which needs no other file."""
    sections = (
        _head(contents),
        render_charts(contents),
        _validation_table(contents),
        render_pieces(contents),
        _texts(contents),
        _checkpoints(contents),
        _settings(contents),
        _provenance(contents),
        _history(contents),
    )
    body = "\n".join(section for section in sections if section)
    style = files("quire.report").joinpath("report.css").read_text(encoding="utf-8")
    style += _temperature_style(len(contents.texts_by_temperature()))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">
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
    source = "a corpus that was deleted or that you may not see"
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
{_status(contents)}
<dl class="figures">
{figures}
</dl>
</header>"""


def _status(contents: ReportContents) -> str:
    job = contents.job
    if job.status in NOT_SUCCEEDED:
        reason = f": {escape(job.error.line())}" if job.error else "."
        return f'<p class="failed">{NOT_SUCCEEDED[job.status]}{reason}</p>'
    if not job.ended:
        step = contents.points[-1].step
        return (
            f'<p class="failed">The training is {job.status}. '
            f"This page shows it up to step {step:,}.</p>"
        )
    return ""


def _figures(contents: ReportContents) -> Iterable[tuple[str, str, str]]:
    best, last = contents.best, contents.points[-1]
    if best is not None and best.val_loss is not None:
        yield (
            "best validation loss",
            formatting.loss(best.val_loss),
            f"{bits(best.bits_per_char)} bits per character, epoch {epoch(best.epoch)}",
        )
    epochs = contents.job.progress.epochs if contents.job.progress else None
    total = f" of {epoch(epochs)}" if epochs else ""
    yield "epochs", f"{epoch(last.epoch)}{total}", f"{last.step:,} steps"
    if contents.seconds is not None:
        started = when(contents.job.started_at)
        yield "duration", formatting.duration(contents.seconds), f"from {started.split(' ', 1)[1]}"
    if contents.characters_per_second:
        yield "characters per second", formatting.count(contents.characters_per_second), "median"


def _validation_table(contents: ReportContents) -> str:
    if not contents.validations:
        return ""
    best = contents.best
    rows = [
        (
            epoch(point.epoch),
            f"{point.step:,}",
            formatting.loss(point.loss),
            formatting.loss(point.val_loss),
            bits(point.bits_per_char),
            f"{point.learning_rate:.3g}" if point.learning_rate is not None else "",
            formatting.count(point.characters_per_second or 0),
        )
        for point in contents.validations
    ]
    marked = {contents.validations.index(best)} if best is not None else set()
    head = (
        "epoch>", "step>", "training loss>", "validation loss>", "bits per character>",
        "learning rate>", "characters per second>",
    )  # fmt: skip
    return (
        f"<details>\n<summary>The numbers behind the curves</summary>\n"
        f"{table('The losses at each validation; the best is highlighted', head, rows, marked)}\n"
        "</details>"
    )


def _texts(contents: ReportContents) -> str:
    groups = contents.texts_by_temperature()
    if not groups:
        return (
            "<section>\n<h2>What it wrote</h2>\n<p>This training wrote no sample texts. "
            "<code>quire train --sample</code> turns them on.</p>\n</section>"
        )
    first = min(groups, key=lambda value: (abs(value - FIRST_TEMPERATURE), value))
    validations = {point.step: point for point in contents.validations}
    choices = "\n".join(
        f'<input type="radio" name="temperature" id="temperature-{i}"'
        f"{' checked' if temperature == first else ''}>"
        f'<label for="temperature-{i}">{temperature:g}</label>'
        for i, temperature in enumerate(groups)
    )
    columns = "\n".join(
        f'<section class="temperature" id="texts-{i}" aria-label="Temperature {temperature:g}">\n'
        f"<h3>Temperature {temperature:g}</h3>\n"
        + "\n".join(_text(text, validations.get(text.step or 0)) for text in texts)
        + "\n</section>"
        for i, (temperature, texts) in enumerate(groups.items())
    )
    return f"""<section class="writing">
<h2>How it learned to write</h2>
<p>The texts are in the order of the epochs. At a low temperature the network is careful and repeats
itself, at 1 it follows the probabilities it has learned, and above 1 it grows wild. Each text
continues the <span class="prompt">grey piece of the corpus</span> before it.</p>
<fieldset class="temperatures">
<legend>Temperature</legend>
{choices}
</fieldset>
{columns}
</section>"""


def _text(text: Text, point: Metric | None) -> str:
    title = f"Epoch {epoch(text.epoch)}" if text.epoch is not None else "Text"
    below = [f"step {text.step:,}"] if text.step is not None else []
    if point is not None:
        below.append(f"validation {formatting.loss(point.val_loss)}")
    notes = " ".join(f"<small>{note}</small>" for note in below)
    return (
        f'<article class="epoch">\n<h4>{title} {notes}</h4>\n'
        f'<p class="text" dir="auto"><span class="prompt">{escape(text.prompt)}</span>'
        f"{escape(text.text)}</p>\n</article>"
    )


def _temperature_style(count: int) -> str:
    """Show one temperature at a time on a screen; on paper all temperatures are shown."""
    hidden = "".join(
        f".writing:not(:has(#temperature-{i}:checked)) #texts-{i} {{ display: none; }}\n"
        for i in range(count)
    )
    return f"@media screen {{\n.temperature h3 {{ display: none; }}\n{hidden}}}\n"


def _checkpoints(contents: ReportContents) -> str:
    if not contents.checkpoints:
        return ""
    aliases = contents.job.checkpoints
    rows, marked = [], set()
    for number, checkpoint in enumerate(contents.checkpoints):
        names = [alias for alias in ("best", "latest") if aliases.get(alias) == checkpoint.id]
        if "best" in names:
            marked.add(number)
        rows.append(
            (
                f"<strong>{', '.join(names)}</strong>",
                epoch(checkpoint.epoch),
                f"{checkpoint.step:,}",
                formatting.loss(checkpoint.val_loss),
                formatting.size(checkpoint.bytes),
                f"<code>{escape(checkpoint.digest or '')}</code>",
            )
        )
    head = ("", "epoch>", "step>", "validation loss>", "size>", "digest (SHA-256)")
    listed = table("The stored checkpoints", head, rows, marked)
    return (
        "<section>\n<h2>Checkpoints</h2>\n<p>The digest covers all variables and the state of "
        "the training loop. The same training on the same kind of processor gives the same "
        "digest.</p>\n"
        f"{listed}\n</section>"
    )


def _settings(contents: ReportContents) -> str:
    spec = dict(contents.job.spec)
    preset = PRESETS.get(spec.get("preset", ""))
    defaults = preset.model_dump() if preset else {}
    rows = []
    for name, value in spec.items():
        changed = name in defaults and defaults[name] != value
        note = f"the preset has {plain(defaults[name])}" if changed else ""
        rows.append((escape(name.replace("_", " ")), escape(plain(value)), escape(note)))
    return f"<section>\n<h2>Settings</h2>\n{table('', ('', '', ''), rows)}\n</section>"


def _provenance(contents: ReportContents) -> str:
    corpus, fingerprint = contents.corpus, contents.fingerprint
    versions = ", ".join(
        f"{name} {fingerprint[name]}"
        for name in ("tensorflow", "keras", "numpy")
        if name in fingerprint
    )
    features = fingerprint.get("cpu_features") or []
    device = " ".join(
        str(fingerprint[name]) for name in ("device", "machine") if name in fingerprint
    )
    rows = [
        ("corpus", escape(corpus.name) if corpus else "deleted, or not visible to you"),
        ("SHA-256 of the corpus", f"<code>{escape(corpus.sha256 or '')}</code>" if corpus else ""),
        ("job", f"<code>{escape(contents.job.id)}</code>"),
        ("model", f"<code>{escape(contents.job.model or 'deleted')}</code>"),
        ("run by", escape(", ".join(contents.workers))),
        ("device", escape(f"{device} ({', '.join(features)})" if features else device)),
        ("versions", escape(versions)),
    ]
    listed = table("", ("", ""), [row for row in rows if row[1]])
    return f"<section>\n<h2>Provenance</h2>\n{listed}\n</section>"


def _history(contents: ReportContents) -> str:
    rows = [
        (when(event.at), escape(describe_event(event)))
        for event in contents.events
        if event.type not in ROUTINE
    ]
    listed = table("Events; times are UTC", ("time", "event"), rows)
    return (
        f"<section>\n<h2>History</h2>\n{listed}\n</section>\n"
        "<footer><p>Written by <code>quire report</code>. Losses are in nats per "
        f"{contents.token}, times are UTC. This page loads nothing and runs no script.</p></footer>"
    )
