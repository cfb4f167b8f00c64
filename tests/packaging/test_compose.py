"""docker-compose.yml is valid, exposes no secret and starts its services in order."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.packaging.project import ROOT

FILES = ("docker-compose.yml", "docker-compose.cpu.yml")
OURS = ("api", "migrate", "worker")
SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD")


class ComposeLoader(yaml.SafeLoader):
    """YAML with the tags of Compose; `!reset` and `!override` keep the value they precede."""


def _plain(loader: ComposeLoader, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return None


ComposeLoader.add_constructor("!reset", _plain)
ComposeLoader.add_constructor("!override", _plain)


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / name).read_text(), ComposeLoader)  # noqa: S506
    return loaded


def schema() -> dict[str, Any]:
    text = (ROOT / "tests" / "packaging" / "compose-spec.json").read_text()
    loaded: dict[str, Any] = json.loads(text)
    # Its `$id` is a relative name, against which nothing can be resolved.
    return {key: value for key, value in loaded.items() if key != "$id"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load(FILES[0])


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("name", FILES)
def test_it_follows_the_compose_specification(name: str) -> None:
    validator = jsonschema_rs.validator_for(schema())
    assert [str(error) for error in validator.iter_errors(load(name))] == []


@pytest.mark.parametrize(
    "change",
    [
        {"services": {"api": {"image": "x", "portz": ["1:1"]}}},
        {"services": {"api": {"depends_on": {"redis": {"condition": "service_happy"}}}}},
        {"services": {"worker": {"deploy": {"resources": {"reservations": {"devices": [{}]}}}}}},
    ],
)
def test_the_schema_rejects_mistakes(change: dict[str, Any]) -> None:
    assert not jsonschema_rs.validator_for(schema()).is_valid(change)


def test_there_is_no_default_secret(compose: dict[str, Any]) -> None:
    text = (ROOT / FILES[0]).read_text()
    for name in SECRETS:
        uses = re.findall(rf"(?<!\$)\$\{{?{name}\b[^}}]*\}}?", text)
        assert uses
        assert all(re.fullmatch(rf"\$\{{{name}:\?.+\.env.+\}}", use) for use in uses), uses
    example = (ROOT / ".env.example").read_text()
    for name in SECRETS:
        assert re.search(rf"^{name}=$", example, re.MULTILINE)


def test_every_variable_is_explained(compose: dict[str, Any]) -> None:
    names = {
        name
        for text in strings(compose)
        for name in re.findall(r"(?<!\$)\$\{(\w+)", text)
    }  # fmt: skip
    example = (ROOT / ".env.example").read_text()
    assert {name for name in names if f"{name}=" not in example} == set()


def test_no_password_is_on_a_command_line(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for part in ("command", "entrypoint"):
            for text in strings(service.get(part)):
                # Compose leaves `$$` to the shell in the container.
                assert not re.search(r"(?<!\$)\$\{?\w*PASSWORD", text), name


def test_services_start_in_order(compose: dict[str, Any]) -> None:
    waits = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in compose["services"].items()
    }
    ready = {"migrate": "service_completed_successfully", "redis": "service_healthy"}
    assert waits == {
        "postgres": {},
        "redis": {},
        "migrate": {"postgres": "service_healthy"},
        "api": ready,
        "worker": ready,
    }


def test_services_have_health_checks_and_data_has_volumes(compose: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "HEALTHCHECK" in dockerfile
    services = compose["services"]
    for name in ("postgres", "redis", "worker"):
        assert services[name]["healthcheck"]["test"]
    for name in ("postgres", "redis"):
        [volume] = services[name]["volumes"]
        assert volume.partition(":")[0] in compose["volumes"]
    assert "--appendonly yes" in services["redis"]["command"][-1]


def test_our_services_run_unprivileged_with_both_addresses(compose: dict[str, Any]) -> None:
    for name in OURS:
        service = compose["services"][name]
        assert {"DATABASE_URL", "REDIS_URL"} <= set(service["environment"])
        assert service["cap_drop"] == ["ALL"]
        assert "privileged" not in service


def test_the_worker_takes_every_gpu_unless_told_otherwise(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    [device] = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["count"] == "all"
    assert "gpu" in device["capabilities"]
    assert worker["build"]["args"]["VARIANT"] == "gpu"
    assert load(FILES[1])["services"]["worker"]["deploy"] is None


def test_nothing_but_the_api_is_published_and_that_to_this_machine(
    compose: dict[str, Any],
) -> None:
    published = {name for name, service in compose["services"].items() if "ports" in service}
    assert published == {"api"}
    assert compose["services"]["api"]["ports"] == [
        "${BIND_ADDRESS:-127.0.0.1}:${BIND_PORT:-8420}:8420"
    ]
