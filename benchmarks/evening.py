"""Serving: what a script writes after an epoch, four texts of 400 characters, over HTTP."""

from functools import partial

from benchmarks.generate import CLASSIC, KerasScript, random_weights
from benchmarks.support.harness import Options, Row, interleave, main, row
from benchmarks.support.requests import median_of, text_in_response
from benchmarks.support.stack import running, train

#: The texts that the classic script writes after an epoch.
TEMPERATURES, LENGTH = [0.2, 0.5, 1.0, 1.2], 400
ROUNDS, QUICK_ROUNDS = 7, 5


def measure(options: Options) -> list[Row]:
    """Measure a model of each kind."""
    script = KerasScript(random_weights(CLASSIC))
    characters = LENGTH * len(TEMPERATURES)
    rows = []
    with running() as quire:
        models = {
            "serve/evening": (train(quire.client, units=256), 1000, "preset default, 256 units"),
            "serve/evening_classic": (
                train(quire.client, preset="classic", sample=None),
                300,
                "preset classic, LSTM(128), windows of 60",
            ),
        }
        for name, (model, target, description) in models.items():
            if not options.wants(name):
                continue
            body = {"model": model, "temperature": TEMPERATURES, "length": LENGTH}
            ours = partial(text_in_response, quire.client, body, LENGTH, len(TEMPERATURES))
            ours()
            mine, theirs = interleave(
                median_of(ours, 5),
                lambda: characters * script.seconds_per_character(10 if options.quick else 30),
                QUICK_ROUNDS if options.quick else ROUNDS,
            )
            conditions = (
                f"{description}; 4 temperatures of {LENGTH} characters, POST with "
                "`Prefer: wait`, p50; peer: the script's model.predict for each character, "
                "measured on some characters and extrapolated"
            )
            rows.append(row(name, mine, theirs, "s", target, conditions))
    return rows


if __name__ == "__main__":
    main("Serving: an evening's texts", measure)
