"""`from quire import Client`, as in a notebook that has modules of the same names beside it."""

import subprocess
import sys
from pathlib import Path

import pytest

import quire
from tests.quire.conftest import Served

SHADOWED = ("api", "migrations", "shared", "worker")
SCRIPT = """
import os
from quire import ApiError, Client, Job

with Client(os.environ["QUIRE_URL"], os.environ["QUIRE_KEY"]) as client:
    print(client.me().name, [isinstance(job, Job) for job in client.jobs()])
    try:
        client.corpus("00000000-0000-0000-0000-000000000000")
    except ApiError as error:
        print(error.status)
"""


def test_the_client_works_beside_modules_named_like_the_servers(
    served: Served, tmp_path: Path
) -> None:
    served.train()
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text("raise AssertionError('the wrong module')\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["ann [True]", "404"], done.stderr


def test_every_exported_name_exists() -> None:
    assert all(getattr(quire, name).__name__ == name for name in quire.__all__ if name[0].islower())
    assert all(hasattr(quire, name) for name in quire.__all__)
    assert set(quire.__all__) <= set(dir(quire))
    with pytest.raises(AttributeError, match="Clint"):
        quire.Clint  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    script = (
        "import sys; before = set(sys.modules); import quire; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert {name.partition(".")[0] for name in done.stdout.split()} <= {
        "quire",
        *sys.stdlib_module_names,
    }
    assert "quire.client" not in done.stdout.split()


def test_the_client_waits_when_the_server_asks_for_it(served: Served) -> None:
    services = served.world.app.extensions["quire"]
    limits = services.creations
    user = served.ann.get("/v1/me").json["id"]
    while limits.take(user).wait_seconds is None:
        pass
    with quire.Client(served.url, served.ann.key) as client:
        corpus = client.upload_corpus(b"a text", name="waited")
        assert corpus.name == "waited"
