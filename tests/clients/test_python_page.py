"""Every block of docs/python.md runs as it stands on a real server, and is typed."""

import re
import subprocess
import sys
from pathlib import Path

from tests.clients.conftest import CLIENTS
from tests.conftest import without
from tests.e2e.home import ROOT, Home

PAGE = ROOT / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
LETTERS = "Dear Ann, I write to you of the quick brown fox and of the lazy dog. Dear friend!\n" * 60
#: Runs each block in a namespace of its own, and says which one fails.
RUN_ALL = """
import sys, traceback
for number, path in enumerate(sys.argv[1:], 1):
    print(f"\\n== block {number}")
    code = compile(open(path).read(), f"block {number} of docs/python.md", "exec")
    exec(code, {"__name__": "__main__"})
print("\\nall is well")
"""
SECONDS = 240


def written(folder: Path) -> list[str]:
    """Write each block to a file of its own."""
    paths = [folder / f"block_{number}.py" for number in range(1, len(BLOCKS) + 1)]
    for path, block in zip(paths, BLOCKS, strict=True):
        path.write_text(block)
    return [str(path) for path in paths]


def test_the_blocks_run_in_their_order(home: Home, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text(LETTERS)
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, *written(tmp_path)],
        cwd=tmp_path,
        env=home.environment
        | {
            "QUIRE_URL": f"http://127.0.0.1:{home.port}",
            "QUIRE_API_KEY": "",
            "QUIRE_KEY": (home.data_dir / "admin.key").read_text().strip(),
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stdout.endswith("all is well\n"), f"{done.stdout}\n{done.stderr}"
    assert len(BLOCKS) > 5
    assert done.stderr == "", "a script that nobody watches has no bar"
    assert (tmp_path / "letters.safetensors").stat().st_size > 1000


def test_the_blocks_are_typed(tmp_path: Path) -> None:
    """As mypy sees an installed quire: by its `py.typed`, strictly."""
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nstrict = true\nwarn_unused_ignores = true\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", config, *written(tmp_path)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache" / "blocks")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


BAR = """
import sys
sys.modules["rich.progress"] = None  # as if rich were not installed
from quire.client.progress import TqdmBar, progress_bar
from quire.client.replies import Job
job = Job.model_validate({
    "id": "1", "kind": "train", "name": "poet", "status": "running",
    "created_at": "2026-01-02T03:04:05Z",
    "progress": {"step": 50, "steps_total": 200, "loss": 1.5},
})
with progress_bar(True) as bar:
    assert isinstance(bar, TqdmBar), bar
    bar.show(job, [])
"""


def test_without_rich_the_bar_is_tqdms(tmp_path: Path) -> None:
    """Only the clients' environment has tqdm, as a notebook's may."""
    found = next(CLIENTS.glob("lib/python*/site-packages/tqdm"), None)
    if found is None:
        without("no tqdm: run `make clients`")
    assert found is not None
    (tmp_path / "tqdm").symlink_to(found)
    done = subprocess.run(
        [sys.executable, "-c", BAR],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert "training poet  25%|" in done.stderr
    assert "loss 1.500" in done.stderr
