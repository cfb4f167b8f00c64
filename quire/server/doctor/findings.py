"""What a check finds: a state, and one repair if it is no good one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "warning", "error")


@dataclass(frozen=True, slots=True)
class Finding:
    """One result.

    Attributes:
        check: What was looked at.
        level: `ok`; `warning` if it works and should not stay so; `error` if something fails.
        detail: What was found.
        repair: What to do about it; empty if it is well.
    """

    check: str
    level: Level
    detail: str
    repair: str = ""


def ok(check: str, detail: str) -> Finding:
    """Something is well."""
    return Finding(check, "ok", detail)


def warning(check: str, detail: str, repair: str) -> Finding:
    """Something works, and should not stay so."""
    return Finding(check, "warning", detail, repair)


def error(check: str, detail: str, repair: str) -> Finding:
    """Something does not work."""
    return Finding(check, "error", detail, repair)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 if all is well, 1 for warnings, 2 for errors."""
    return max((LEVELS.index(finding.level) for finding in findings), default=0)
