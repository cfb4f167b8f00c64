"""Mutation tests: remove the lines that the promises rest on, one at a time, and expect red tests.

`python -m tools.mutations` copies the tree, changes one line of the copy, and runs the tests that
must fail. If they pass, a promise is no longer tested.
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
    """One changed line.

    Attributes:
        removed: What the mutation removes, in words.
        path: The file to change.
        before: The text to replace; it must occur once.
        after: The replacement.
        tests: Arguments of pytest: the tests that must fail.
    """

    removed: str
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
        "the attempt filter of ends in bulk",
        "shared/queue/completion.py",
        "if (claim.job_id, claim.attempt) in held:",
        "if claim.job_id:",
        ("tests/queue/test_fence.py", "-k", "older_attempt or two_attempts"),
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
        "shared/queue/locks.py",
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
        "the part of a device that a slot is charged",
        "shared/queue/types.py",
        "(held if ran is None else min(ran, held)) / self.device_slots",
        "held if ran is None else min(ran, held)",
        ("tests/queue/test_device_slots.py", "-k", "costs_half and sqlite"),
    ),
    Mutation(
        "the check of a key's scope",
        "api/http/authentication.py",
        "        require_scope(scope_of(handler), user)",
        "        pass",
        ("tests/api/people/test_key_scopes.py", "-k", "without_its_scope and sqlite"),
    ),
    Mutation(
        "the look at an enrolment's end",
        "shared/accounts/enrolments.py",
        'if state != "open":',
        'if state == "never":',
        ("tests/api/people/test_enrolments.py", "-k", "has_ended and sqlite"),
    ),
    Mutation(
        "the commit before the wake",
        "api/operations/submission.py",
        "    reply = job_reply(session, ",
        "    services().broker.wake(job.kind, job.id)\n    reply = job_reply(session, ",
        ("tests/api/test_wakes.py", "-k", "woken_worker"),
    ),
    Mutation(
        "the commit before the wakes of a group",
        "api/operations/texts/group_transaction.py",
        "        queue.insert(connection, [jobs[text.job_id] for text in kept])",
        "        queue.insert(connection, [jobs[text.job_id] for text in kept])\n"
        '        services().broker.wake("generate", group[0].job_id)',
        ("tests/api/test_wakes.py", "-k", "woken_worker"),
    ),
    Mutation(
        "the flush before a group's 202",
        "api/operations/texts/submission_groups.py",
        "    if not all(text.answers_at_end for text in created):",
        "    if not created:",
        ("tests/api/test_prefer_wait.py", "-k", "group_waits and sqlite"),
    ),
    Mutation(
        "the flush before the 202 of who has waited",
        "api/http/prefer_wait.py",
        "        if new and (outcome is None or waiter.end is None):",
        "        if new and outcome is not None and waiter.end is None:",
        ("tests/api/test_prefer_wait.py", "-k", "takes_longer and sqlite"),
    ),
    Mutation(
        "the keys of a group",
        "api/operations/texts/group_transaction.py",
        "_submissions(connection, _confirmed(connection, group), models)",
        "_submissions(connection, group, models)",
        ("tests/api/people/test_known_keys.py", "-k", "submits_nothing and sqlite"),
    ),
    Mutation(
        "the key of whoever is told of an error",
        "api/app.py",
        "    app.after_request(authentication.confirm_before_answer)\n",
        "",
        ("tests/api/people/test_known_keys.py", "-k", "nothing_but_that and sqlite"),
    ),
    Mutation(
        "the caps of a group",
        "shared/queue/submission.py",
        "        return [job for job in jobs if (job.user_id, job.kind) not in stopped]",
        "        return list(jobs)",
        ("tests/api/test_submission_groups.py", "-k", "cap"),
    ),
)


def main() -> int:
    """Try all mutations.

    Returns:
        0 if the unchanged copy passes and every mutation turns its tests red, else 1.
    """
    with tempfile.TemporaryDirectory(prefix="quire-mutations-") as directory:
        copy = Path(directory, "quire")
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        passed = all(
            [_report(_unchanged(copy)), *(_report(_try(copy, mutation)) for mutation in MUTATIONS)]
        )
    return 0 if passed else 1


def _report(outcome: tuple[bool, str, float]) -> bool:
    passed, words, seconds = outcome
    print(f"{'ok   ' if passed else 'WRONG'} {words} ({seconds:.0f} s)", flush=True)
    return passed


def _unchanged(copy: Path) -> tuple[bool, str, float]:
    """Run the tests on the unchanged copy: they must pass, or their failure would prove nothing."""
    started = time.monotonic()
    codes = {_run(copy, tests) for tests in {mutation.tests for mutation in MUTATIONS}}
    return codes == {ALL_PASSED}, "unchanged: all tests pass", time.monotonic() - started


def _try(copy: Path, mutation: Mutation) -> tuple[bool, str, float]:
    started = time.monotonic()
    path = copy / mutation.path
    original = path.read_text(encoding="utf-8")
    count = original.count(mutation.before)
    if count != 1:
        return False, f"{mutation.path} contains {mutation.before!r} {count} times, not once", 0.0
    path.write_text(original.replace(mutation.before, mutation.after), encoding="utf-8")
    try:
        # pytest exits with 1 if a test failed; any other error means that the copy does not run.
        is_red = _run(copy, (*mutation.tests, "-x")) == SOME_FAILED
    finally:
        path.write_text(original, encoding="utf-8")
    words = f"without {mutation.removed}: {'red' if is_red else 'STILL GREEN'}"
    return is_red, words, time.monotonic() - started


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
