"""Takes out what the promises rest on, one thing at a time, and sees the suite turn red.

`python -m tools.mutations` copies the tree, changes one line of the copy, and runs the tests that
must notice. A mutation that nobody notices means that a promise is not tested any more.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
LIMIT_SECONDS = 120
ALL_PASSED, SOME_FAILED = 0, 1


@dataclass(frozen=True)
class Mutation:
    """One thing less.

    Attributes:
        what: It, in words.
        path: The file that has it.
        before: The text that holds it; it must occur once.
        after: The text without it.
        tests: Arguments of pytest: who must notice.
    """

    what: str
    path: str
    before: str
    after: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "the attempt filter of every write",
        "shared/queue/sql.py",
        '    Job.attempt == bindparam("held_attempt"),',
        '    Job.attempt >= bindparam("held_attempt"),',
        ("tests/queue/test_fence.py", "-k", "older_attempt"),
    ),
    Mutation(
        "the attempt filter of a heartbeat",
        "shared/queue/lease.py",
        "[(claim.job_id, claim.attempt) for claim in claims]",
        "[(claim.job_id, claim.attempt + later) for claim in claims for later in range(9)]",
        ("tests/queue/test_fence.py", "-k", "older_attempt"),
    ),
    Mutation(
        "the lock that serialises claims",
        "shared/queue/base.py",
        'if connection.dialect.name == "postgresql":',
        'if connection.dialect.name == "nothing":',
        ("tests/queue/test_claim.py", "-k", "postgresql and not eight"),
    ),
    Mutation(
        "the charge at the claim",
        "shared/queue/claim.py",
        "ledger.charge(claim.user_id, rules.charge_seconds)",
        "pass",
        ("tests/queue/test_claim.py", "-k", "charged_before_the_next"),
    ),
    Mutation(
        "the commit before the wake",
        "api/operations/submission.py",
        "    reply = job_reply(session, ",
        "    wake()\n    reply = job_reply(session, ",
        ("tests/api/test_wakes.py",),
    ),
)


def main() -> int:
    """Try all.

    Returns:
        0 where each was noticed, and the unchanged copy passes; else 1.
    """
    with tempfile.TemporaryDirectory(prefix="quire-mutations-") as directory:
        copy = Path(directory, "quire")
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        passed = all([_says(_unchanged(copy)), *(_says(_try(copy, each)) for each in MUTATIONS)])
    return 0 if passed else 1


def _says(outcome: tuple[bool, str, float]) -> bool:
    right, words, seconds = outcome
    print(f"{'ok   ' if right else 'WRONG'} {words} ({seconds:.0f} s)", flush=True)
    return right


def _unchanged(copy: Path) -> tuple[bool, str, float]:
    """The same tests must pass as things are, or their failing would say nothing."""
    started = time.monotonic()
    codes = {_run(copy, tests) for tests in {mutation.tests for mutation in MUTATIONS}}
    return codes == {ALL_PASSED}, "as it is, all pass", time.monotonic() - started


def _try(copy: Path, mutation: Mutation) -> tuple[bool, str, float]:
    started = time.monotonic()
    path = copy / mutation.path
    original = path.read_text(encoding="utf-8")
    count = original.count(mutation.before)
    if count != 1:
        return False, f"{mutation.path} holds {mutation.before!r} {count} times", 0.0
    path.write_text(original.replace(mutation.before, mutation.after), encoding="utf-8")
    try:
        # A test that fails is 1; anything else says that the copy does not even run.
        noticed = _run(copy, (*mutation.tests, "-x")) == SOME_FAILED
    finally:
        path.write_text(original, encoding="utf-8")
    words = f"without {mutation.what}: {'red' if noticed else 'NOBODY NOTICES'}"
    return noticed, words, time.monotonic() - started


def _run(copy: Path, tests: tuple[str, ...]) -> int:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        argv,
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    if done.returncode not in (ALL_PASSED, SOME_FAILED):
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
