"""Looks for known vulnerabilities in the locks with pip-audit: `make audit`.

pip-audit runs in an environment of its own, which uv makes and throws away, so that it is in no
lock. Where no index answers, or one that knows nothing of vulnerabilities, nothing can be looked
up: this says so, and passes. A known vulnerability fails it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-gpu.lock")
PIP_AUDIT = "pip-audit==2.10.1"
RUN = (str(Path(sys.executable).parent / "uv"), "tool", "run", "--from", PIP_AUDIT, "pip-audit")
OPTIONS = ("--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json")
#: What pip-audit and uv say if nobody answers.
NO_ANSWER = (
    "ConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "Could not connect",
    "Failed to fetch",
)


def main(arguments: Sequence[str]) -> int:
    """Audit every lock.

    Args:
        arguments: Passed to pip-audit, such as ``--ignore-vuln ID``.

    Returns:
        1 if a vulnerability is known or pip-audit failed for another reason than silence.
    """
    installed = subprocess.run((*RUN, "--version"), capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        if is_silence(installed.stderr):
            print(f"audit: not run, for no package index answers ({PIP_AUDIT} can't be had)")
            return 0
        print(installed.stderr, file=sys.stderr)
        return 1
    return max(_audit(lock, arguments) for lock in LOCKS)


def _audit(lock: str, arguments: Sequence[str]) -> int:
    done = subprocess.run(
        (*RUN, *OPTIONS, "--requirement", str(ROOT / lock), *arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        if is_silence(done.stderr):
            print(f"audit: {lock}: not audited, for no index of vulnerabilities answers")
            return 0
        print(done.stderr, file=sys.stderr)
        return 1
    status, lines = verdict(report["dependencies"])
    for line in lines:
        print(f"audit: {lock}: {line}")
    return status


def is_silence(output: str) -> bool:
    """Whether a program failed because nobody answered it."""
    return any(words in output for words in NO_ANSWER)


def verdict(dependencies: Sequence[dict[str, Any]]) -> tuple[int, list[str]]:
    """Read pip-audit's report.

    pip-audit finds no vulnerability in a package of which the index knows none, nor in one of
    which it knows nothing at all. Only the first was audited.

    Args:
        dependencies: The `dependencies` of the report.

    Returns:
        The exit status, and what to print.
    """
    lines = list(_vulnerabilities(dependencies))
    if lines:
        return 1, [*lines, "upgrade them (`make lock ARGS=--upgrade`), or ignore one by its id"]
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    audited = len(dependencies) - len(skipped)
    if audited == 0:
        return 0, ["not audited, for the index knows nothing of vulnerabilities"]
    told = f"no known vulnerability in {audited} packages"
    return 0, [f"{told}; not audited: {', '.join(skipped)}" if skipped else told]


def _vulnerabilities(dependencies: Sequence[dict[str, Any]]) -> Iterator[str]:
    for each in dependencies:
        for found in each.get("vulns", ()):
            fixed = ", ".join(found["fix_versions"]) or "no release"
            aliases = " ".join(found.get("aliases", ()))
            names = f"{found['id']} {aliases}".strip()
            yield f"{each['name']} {each['version']}: {names}, fixed in {fixed}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
