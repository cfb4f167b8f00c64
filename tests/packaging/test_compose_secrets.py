"""The passwords of docker-compose.yml: files that nobody commits, and that each service needs."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.packaging.project import ROOT
from tests.packaging.test_compose import OURS, SECRETS, compose, strings

__all__ = ["compose"]


def test_each_secret_is_a_file_that_no_one_commits(compose: dict[str, Any]) -> None:
    files = {name: f"./secrets/{name}" for name in SECRETS}
    assert {name: each["file"] for name, each in compose["secrets"].items()} == files
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    environments = [service.get("environment", {}) for service in compose["services"].values()]
    for name, value in ((name, text) for each in environments for name, text in each.items()):
        assert "PASSWORD" not in name or (name.endswith("_FILE") and value.startswith("/run/"))
        assert not re.search(r"//[^/@]*:[^/@]+@", value), f"{name} holds a password"


def test_each_service_gets_the_secrets_that_it_needs(compose: dict[str, Any]) -> None:
    ours = ["postgres_password", "redis_password"]
    assert {
        name: sorted(service["secrets"])
        for name, service in compose["services"].items()
        if "secrets" in service
    } == {
        "postgres": ["postgres_admin_password", "postgres_password"],
        "redis": ["redis_password"],
        **dict.fromkeys(OURS, ours),
    }


def test_make_secrets_makes_each_one_once_and_for_you_alone(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "make-secrets"
    script.write_text((ROOT / "deploy" / "make-secrets").read_text())
    made = [subprocess.check_output(["sh", str(script)], text=True) for _ in range(2)]
    assert [len(text.splitlines()) for text in made] == [len(SECRETS), 0]
    folder = tmp_path / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(texts) == set(SECRETS)
    assert len(set(texts.values())) == len(SECRETS)
    assert all(re.fullmatch("[0-9a-f]{64}", text) for text in texts.values())
    # A container's unprivileged user reads the file that it mounts.
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


def test_no_password_is_on_a_command_line(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for part in ("command", "entrypoint"):
            for text in strings(service.get(part)):
                # Compose leaves `$$` to the shell in the container.
                assert not re.search(r"(?<!\$)\$\{?\w*PASSWORD", text), name


def test_the_role_of_the_database_is_no_superuser(compose: dict[str, Any]) -> None:
    postgres = compose["services"]["postgres"]
    assert postgres["environment"]["POSTGRES_USER"] == "postgres"
    script = ROOT / "deploy" / "postgres" / "create-quire.sh"
    assert any(
        volume == f"./{script.relative_to(ROOT)}:/docker-entrypoint-initdb.d/{script.name}:ro"
        for volume in postgres["volumes"]
    )
    assert os.access(script, os.X_OK), "PostgreSQL's image would source it otherwise"
    assert "CREATE ROLE quire LOGIN PASSWORD" in script.read_text()
    assert "SUPERUSER" not in script.read_text()


def test_the_passwords_of_an_older_installation_move(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "make-secrets"
    script.write_text((ROOT / "deploy" / "make-secrets").read_text())
    script.chmod(0o755)
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=hunter2\nREDIS_PASSWORD=hunter3\n")
    page = (ROOT / "docs" / "operations.md").read_text()
    [commands] = [
        block
        for block in re.findall(r"```sh\n(.+?)```", page, re.DOTALL)
        if "make-secrets" in block
    ]
    subprocess.run(["sh", "-ec", commands], cwd=tmp_path, check=True, capture_output=True)
    secrets = tmp_path / "secrets"
    assert (secrets / "postgres_password").read_text() == "hunter2"
    assert (secrets / "redis_password").read_text() == "hunter3"
    assert (secrets / "postgres_admin_password").exists()
