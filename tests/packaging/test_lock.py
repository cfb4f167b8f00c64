"""The locks fit pyproject.toml, and hold nothing but versions and hashes."""

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import without
from tests.packaging.project import ROOT, Pin, pins, pyproject, requirements

LOCKS = {"requirements.lock": ("server", "otel", "dev"), "requirements-gpu.lock": ("server", "gpu")}
#: All locks; the last one has an environment of its own, and nothing of pyproject.toml.
ALL = (*LOCKS, "requirements-clients.lock")
PYTHONS = ("3.11.9", "3.12.4", "3.13.1")
#: What uv says where no package index answers.
NO_INDEX = ("Failed to fetch", "the network was disabled")


def by_name(lock: str, python: str) -> dict[str, Pin]:
    found: dict[str, Pin] = {}
    for pin in pins(lock):
        if pin.applies(python):
            assert pin.name not in found, f"{pin.name} is pinned twice for {python}"
            found[pin.name] = pin
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_what_pyproject_asks_for_is_pinned_at_a_version_that_fits(lock: str, python: str) -> None:
    locked = by_name(lock, python)
    for wanted in requirements(*LOCKS[lock]):
        short = {"python_version": python.rpartition(".")[0]}
        if wanted.marker is not None and not wanted.marker.evaluate(short):
            continue
        name = canonicalize_name(wanted.name)
        assert name in locked, f"{name} is not in {lock}: run `make lock`"
        assert wanted.specifier.contains(locked[name].version), (
            f"{lock} has {name} {locked[name].version}, "
            f"pyproject.toml wants {wanted.specifier}: run `make lock`"
        )


@pytest.mark.parametrize("lock", ALL)
def test_every_pin_has_hashes(lock: str) -> None:
    found = list(pins(lock))
    assert len(found) > 50
    for pin in found:
        assert pin.hashes, pin.name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in pin.hashes), pin.name
        assert pin.requirement.url is None


@pytest.mark.parametrize("lock", ALL)
def test_a_lock_holds_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|file:|^\s*#", text, re.MULTILINE)
    assert not re.search(r"(^|\s)/\w", text), "a path of somebody's machine"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_locks_agree_where_both_speak(python: str) -> None:
    common, gpu = (by_name(lock, python) for lock in LOCKS)
    for name in common.keys() & gpu.keys():
        assert common[name].version == gpu[name].version
        assert common[name].hashes == gpu[name].hashes


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", ALL)
def test_every_pin_has_a_wheel_that_the_lock_accepts(
    lock: str, python: str, tmp_path: Path
) -> None:
    done = resolve_wheels(ROOT / lock, python, tmp_path)
    if any(words in done.stderr for words in NO_INDEX):
        without(f"no package index: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr
    resolved = set(re.findall(r"^ \+ ([\w.-]+)==", done.stderr, re.MULTILINE))
    assert resolved == set(by_name(lock, python))


def test_a_missing_wheel_would_be_noticed(tmp_path: Path) -> None:
    """TensorFlow's wheels are why `requires-python` has an upper bound."""
    lock = tmp_path / "requirements.lock"
    [tensorflow] = [pin for pin in pins("requirements.lock") if pin.name == "tensorflow"]
    hashes = " ".join(f"--hash={text}" for text in tensorflow.hashes)
    lock.write_text(f"tensorflow=={tensorflow.version} {hashes}\n")
    done = resolve_wheels(lock, "3.14", tmp_path)
    if any(words in done.stderr for words in NO_INDEX):
        without(f"no package index: {done.stderr.strip()[-300:]}")
    assert done.returncode != 0
    assert "cp313" in done.stderr


def resolve_wheels(lock: Path, python: str, target: Path) -> "subprocess.CompletedProcess[str]":
    """Find a wheel for each entry of a lock, without downloading or installing it."""
    return subprocess.run(
        [
            *(str(Path(sys.executable).with_name("uv")), "pip", "install", "--dry-run"),
            *("--python-version", python, "--python-platform", "x86_64-manylinux_2_28"),
            *("--no-build", "--no-deps", "--require-hashes"),
            *("--python", sys.executable, "--target", str(target), "--requirement", str(lock)),
        ],
        # The system knows a company's own certificate authority; uv's list does not.
        env={"UV_SYSTEM_CERTS": "1", **os.environ, "UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_installed_wants_nothing_that_the_lock_refuses() -> None:
    """The requirements of the installed packages fit the lock."""
    # As the installed packages see it: some want more on the first 3.11s, such as Debian's.
    locked = by_name("requirements.lock", platform.python_version())
    seen = 0
    for pin in locked.values():
        try:
            if version(pin.name) != pin.version:
                continue
        except PackageNotFoundError:
            continue
        seen += 1
        for line in requires(pin.name) or ():
            wanted = Requirement(line)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            name = canonicalize_name(wanted.name)
            assert name in locked, f"{pin.name} needs {name}"
            allowed = wanted.specifier.contains(locked[name].version, prereleases=True)
            assert allowed, f"{pin.name} wants {wanted}, the lock has {locked[name].version}"
    assert seen > 50


def test_a_lock_can_renew_itself_and_install_the_project() -> None:
    locked = by_name("requirements.lock", "3.11.9")
    assert "uv" in locked
    for line in pyproject()["build-system"]["requires"]:
        assert Requirement(line).specifier.contains(locked[Requirement(line).name].version)


def test_a_client_installs_no_part_of_a_server() -> None:
    base = {canonicalize_name(wanted.name) for wanted in requirements()}
    server = {canonicalize_name(wanted.name) for wanted in requirements("server")} - base
    assert {"tensorflow", "flask", "sqlalchemy", "celery", "redis", "numpy"} <= server
