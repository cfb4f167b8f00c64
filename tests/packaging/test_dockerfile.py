"""The Dockerfile copies existing files, installs locked versions and runs unprivileged."""

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import requires
from importlib.util import find_spec

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.project import PACKAGES, ROOT, pyproject


@dataclass(frozen=True)
class Instruction:
    """An instruction with its continuation lines joined."""

    word: str
    rest: str


def stages() -> list[list[Instruction]]:
    """Return the instructions of each stage, which starts with FROM."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append(Instruction(word, rest.strip()))
    return found


def words(stage: list[Instruction], word: str) -> list[str]:
    return [each.rest for each in stage if each.word == word]


def copied_files() -> set[str]:
    """Return the files of this project that go into a stage."""
    packages, project, _ = stages()
    copies = words(packages, "COPY") + words(project, "COPY")
    return {source for rest in copies for source in rest.split()[:-1]}


def is_sent_to_the_build(path: str) -> bool:
    """Whether .dockerignore lets a path through; the last matching line decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        name = pattern.removeprefix("!").removeprefix("**/")
        if fnmatch(path, name) or ("**/" in pattern and fnmatch(path.rpartition("/")[2], name)):
            sent = pattern.startswith("!")
    return sent


def test_every_copied_file_exists_and_reaches_the_build() -> None:
    copied = copied_files()
    assert {"pyproject.toml", "requirements.lock", "requirements-gpu.lock"} <= copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert is_sent_to_the_build(source), f".dockerignore holds {source} back"


def test_the_image_has_every_package_and_what_the_wheel_needs() -> None:
    copied = copied_files()
    assert set(PACKAGES) <= copied
    assert pyproject()["project"]["readme"] in copied
    assert set(pyproject()["project"]["license-files"]) <= copied


@pytest.mark.parametrize("path", [".env", ".git", ".venv", "tests", "notes.txt", "__pycache__"])
def test_nothing_else_reaches_the_build(path: str) -> None:
    assert not is_sent_to_the_build(path)


def test_it_runs_as_an_unprivileged_user() -> None:
    final = stages()[-1]
    [user] = words(final, "USER")
    assert int(user) >= 1000
    last_run = max(place for place, each in enumerate(final) if each.word in {"RUN", "COPY"})
    assert final.index(Instruction("USER", user)) > last_run
    assert any(f"useradd --uid {user} " in rest for rest in words(final, "RUN"))


def test_a_change_of_the_source_is_one_small_layer_at_the_end() -> None:
    packages, project, final = stages()
    assert not set(PACKAGES) & {
        source for rest in words(packages, "COPY") for source in rest.split()
    }
    [install] = [rest for rest in words(packages, "RUN") if "VARIANT" in rest]
    assert install.endswith("rm -r /opt/quire/lib/python3.11/site-packages/tensorflow/include")
    assert project[0].rest == "packages AS project"
    assert "--prefix /opt/project" in words(project, "RUN")[-1]
    layers = [each for each in final if each.word in {"RUN", "COPY", "WORKDIR"}]
    assert [each.rest for each in layers[-2:]] == [
        "--from=packages /opt/quire /opt/quire",
        "--from=project /opt/project /opt/quire",
    ]


def test_it_starts_quire_and_its_health_check_follows_the_part_that_runs() -> None:
    final = stages()[-1]
    [check] = words(final, "HEALTHCHECK")
    argv = json.loads(check[check.index("[") :])
    assert argv == ["python", "-P", "-m", "shared.process.health"]
    assert find_spec(argv[-1])
    assert [json.loads(rest) for rest in words(final, "ENTRYPOINT")] == [["quire"]]
    assert json.loads(words(final, "CMD")[0])[0] == "up"


def test_both_variants_install_from_their_lock() -> None:
    build = stages()[0]
    assert words(build, "ARG") == ["VARIANT=cpu"]
    [install] = [rest for rest in words(build, "RUN") if "VARIANT" in rest]
    assert "--constraint requirements.lock --extra server ;;" in install
    assert "--constraint requirements-gpu.lock --extra server --extra gpu ;;" in install
    assert "exit 1" in install


def test_the_tools_that_build_it_come_from_the_lock_with_all_they_need() -> None:
    build = stages()[0]
    [tools] = [rest for rest in words(build, "RUN") if "build.lock" in rest]
    names = re.search(r"/\^\((.+)\)==/", tools)
    assert names is not None
    taken = set(names[1].split("|"))
    assert {"hatchling", "uv"} <= taken
    for name in taken:
        needed = [Requirement(line) for line in requires(name) or ()]
        for each in needed:
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                assert canonicalize_name(each.name) in taken, f"{name} needs {each.name}"


def test_bases_are_pinned_to_the_python_of_the_lock() -> None:
    bases = [stage[0].rest.split()[0] for stage in stages()]
    assert bases == ["python:3.11-slim", "packages", "python:3.11-slim"]
