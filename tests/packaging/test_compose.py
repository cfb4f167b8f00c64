"""docker-compose.yml is valid, exposes no secret and starts its services in order."""

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.packaging.project import ROOT

FILES = ("docker-compose.yml", "docker-compose.cpu.yml")
OURS = ("api", "migrate", "worker")
SECRETS = ("postgres_admin_password", "postgres_password", "redis_password")


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


def test_every_variable_is_explained(compose: dict[str, Any]) -> None:
    names = {
        name
        for text in strings(compose)
        for name in re.findall(r"(?<!\$)\$\{(\w+)", text)
    }  # fmt: skip
    example = (ROOT / ".env.example").read_text()
    assert {name for name in names if f"{name}=" not in example} == set()


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
        "proxy": {"api": "service_healthy"},
    }


def test_services_have_health_checks_and_data_has_volumes(compose: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "HEALTHCHECK" in dockerfile
    services = compose["services"]
    for name in ("postgres", "redis"):
        assert services[name]["healthcheck"]["test"]
        volume = services[name]["volumes"][0]
        assert volume.partition(":")[0] in compose["volumes"]
    assert "--appendonly yes" in services["redis"]["command"][-1]


def test_our_services_know_both_servers(compose: dict[str, Any]) -> None:
    for name in OURS:
        service = compose["services"][name]
        assert {"DATABASE_URL", "REDIS_URL"} <= set(service["environment"])
        # The health check is the image's, which follows the part that runs.
        assert service.get("healthcheck") == ({"disable": True} if name == "migrate" else None)


def test_every_service_is_confined(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service.get("cap_add") == (["NET_BIND_SERVICE"] if name == "proxy" else None), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert service["tmpfs"], name
        assert service["mem_limit"], name
        assert service["pids_limit"] > 0, name
        assert "privileged" not in service, name
    for name in ("postgres", "redis"):
        assert compose["services"][name]["user"] == name


def test_the_database_and_redis_are_in_a_network_without_a_way_in_or_out(
    compose: dict[str, Any],
) -> None:
    services, networks = compose["services"], compose["networks"]
    assert networks["back"] == {"internal": True}
    members = {name: set(service["networks"]) for name, service in services.items()}
    assert members.pop("api") == {"front", "back"}
    assert members.pop("proxy") == {"front"}
    assert set(map(frozenset, members.values())) == {frozenset({"back"})}


def test_the_override_of_the_operations_guide_is_valid() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    [text] = re.findall(r"```yaml\n(services:.+?)```", page, re.DOTALL)
    override = yaml.safe_load(text)
    assert [
        str(error) for error in jsonschema_rs.validator_for(schema()).iter_errors(override)
    ] == []
    assert set(override["services"]) == {"postgres", "redis"}


@pytest.mark.parametrize("names", [FILES[:1], FILES])
def test_one_service_builds_each_image(names: tuple[str, ...]) -> None:
    services = load(names[0])["services"]
    for name in names[1:]:
        for service, changes in load(name)["services"].items():
            services[service] |= changes
    builders = [
        service["image"]
        for name, service in services.items()
        if service.get("build")
    ]  # fmt: skip
    assert sorted(builders) == sorted(
        {service["image"] for service in services.values() if service["image"].startswith("quire:")}
    )
    for name in OURS:
        service = services[name]
        built = bool(service.get("build"))
        assert service["pull_policy"] == ("missing" if built else "never"), name


def test_the_api_believes_the_proxy_alone(compose: dict[str, Any]) -> None:
    services = compose["services"]
    address = services["proxy"]["networks"]["front"]["ipv4_address"]
    assert services["api"]["environment"]["QUIRE_TRUSTED_PROXIES"] == address
    [front] = compose["networks"]["front"]["ipam"]["config"]
    proxy, subnet, others = (
        text.split(":-")[1].rstrip("}") for text in (address, front["subnet"], front["ip_range"])
    )
    assert ip_address(proxy) in ip_network(subnet)
    assert ip_network(others).subnet_of(ip_network(subnet))  # type: ignore[arg-type]
    assert ip_address(proxy) not in ip_network(others)


def test_tls_is_a_choice_and_its_configuration_is_here(compose: dict[str, Any]) -> None:
    profiles = {name: each.get("profiles") for name, each in compose["services"].items()}
    assert {name for name, each in profiles.items() if each} == {"proxy"}
    assert "./deploy/Caddyfile:/etc/caddy/Caddyfile:ro" in compose["services"]["proxy"]["volumes"]
    assert "reverse_proxy api:8420" in (ROOT / "deploy" / "Caddyfile").read_text()


def test_a_worker_of_another_machine_has_time_to_save(compose: dict[str, Any]) -> None:
    head = (ROOT / FILES[0]).read_text().split("\nname:")[0]
    assert compose["services"]["worker"]["stop_grace_period"] == "2m"
    assert "--stop-timeout 120" in head


def test_the_worker_takes_every_gpu_unless_told_otherwise(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    [device] = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["count"] == "all"
    assert "gpu" in device["capabilities"]
    assert worker["build"]["args"]["VARIANT"] == "gpu"
    # Without a GPU it must not train on the CPU in silence.
    assert worker["environment"]["QUIRE_DEVICES"] == "${WORKER_DEVICES:-gpu}"
    # What the driver compiles at the first start outlives the container.
    assert "cuda-cache:/var/cache/cuda" in worker["volumes"]
    override = load(FILES[1])["services"]["worker"]
    assert override["deploy"] is None
    assert override["environment"]["QUIRE_DEVICES"] == "cpu"


def test_the_api_is_published_to_this_machine_and_the_proxy_to_all(
    compose: dict[str, Any],
) -> None:
    published = {name for name, service in compose["services"].items() if "ports" in service}
    assert published == {"api", "proxy"}
    assert compose["services"]["api"]["ports"] == [
        "${BIND_ADDRESS:-127.0.0.1}:${BIND_PORT:-8420}:8420"
    ]
