"""`make audit`: a known vulnerability fails it, and silence is told from a clean report."""

import os
import subprocess
import sys
from pathlib import Path

from tools.audit import is_silence, verdict

ROOT = Path(__file__).parents[1]
CLEAN = {"name": "flask", "version": "3.1.0", "vulns": []}
UNKNOWN = {"name": "absl-py", "skip_reason": "Dependency not found on PyPI: absl-py (2.5.1)"}
VULNERABLE = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [
        {
            "id": "PYSEC-2014-8",
            "fix_versions": ["2.7.2"],
            "aliases": ["CVE-2014-0012"],
            "description": "…",
        },
        {"id": "PYSEC-2019-217", "fix_versions": [], "aliases": []},
    ],
}


def test_a_known_vulnerability_fails() -> None:
    status, lines = verdict([CLEAN, VULNERABLE, UNKNOWN])
    assert status == 1
    assert lines[:2] == [
        "jinja2 2.4.1: PYSEC-2014-8 CVE-2014-0012, fixed in 2.7.2",
        "jinja2 2.4.1: PYSEC-2019-217, fixed in no release",
    ]


def test_what_was_not_audited_is_said() -> None:
    assert verdict([CLEAN]) == (0, ["no known vulnerability in 1 packages"])
    assert verdict([CLEAN, UNKNOWN])[1] == [
        "no known vulnerability in 1 packages; not audited: absl-py"
    ]
    assert verdict([UNKNOWN, UNKNOWN]) == (
        0,
        ["not audited, for the index knows nothing of vulnerabilities"],
    )


def test_an_error_of_its_own_is_no_silence() -> None:
    assert is_silence("requests.exceptions.ConnectionError: HTTPSConnectionPool(host='pypi.org')")
    assert not is_silence("ERROR:pip_audit._cli:invalid requirement on line 3")


def test_without_an_index_it_says_so_and_passes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.audit"],
        cwd=ROOT,
        env={
            **os.environ,
            "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
            "UV_INDEX": "",
            "UV_CACHE_DIR": str(tmp_path / "cache"),
            "UV_TOOL_DIR": str(tmp_path / "tools"),
            "UV_HTTP_RETRIES": "0",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no package index answers" in done.stdout
