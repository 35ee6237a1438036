"""What can be known of the container files without a container engine."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("headrace:")}
ONE_SHOT = {"topics", "migrate"}
COMMANDS = {
    "worker": "worker --lane interactive",
    "worker-bulk": "worker --lane bulk",
    "retries": "retries",
    "sink-clickhouse": "sink clickhouse",
    "sink-postgres": "sink postgres",
    "gateway": "gateway",
    "rehearsal": "rehearse --host 0.0.0.0 --port 8787",
    "topics": "topics apply",
    "migrate": "migrate",
}
SECRETS = (
    "POSTGRES_PASSWORD",
    "CLICKHOUSE_PASSWORD",
    "VALKEY_PASSWORD",
    "GATEWAY_SECRET",
    "KEY_PEPPER",
    "ANTHROPIC_API_KEY",
)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_or_ends_by_itself(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert (service["restart"], service["healthcheck"]) == ("no", {"disable": True})
    else:
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
        assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_and_every_port_on_loopback(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag)
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_our_processes_run_the_commands_they_are_named_for() -> None:
    assert {name: " ".join(service["command"]) for name, service in OURS.items()} == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS.values()))
def test_those_commands_take_those_options(command: str) -> None:
    from typer.testing import CliRunner

    from ops.cli import app

    told = CliRunner().invoke(app, [*command.split(), "--help"])
    if f"No such command '{command.split(maxsplit=1)[0]}'" in told.output:
        pytest.skip("not registered yet in ops/cli/__init__.py")
    assert told.exit_code == 0
    for option in (word for word in command.split() if word.startswith("--")):
        assert option in told.output


def test_services_wait_for_what_they_need_in_a_way_that_can_come_true() -> None:
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == expected
            assert "profiles" not in SERVICES[needed] or how["required"] is False


def test_no_password_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for secret in SECRETS:
        uses = re.findall(r"\$\{" + secret + r"([^}]*)\}", text)
        assert uses
        assert set(uses) == {":?set it in .env"}
    assert re.findall(r"^(\w+PASSWORD)=(.*)$", EXAMPLE, re.MULTILINE) == [(name, "") for name in SECRETS[:3]]


def test_every_variable_that_compose_reads_is_explained_in_the_example() -> None:
    wanted = set(re.findall(r"(?<!\$)\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert wanted <= set(re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE))


def test_settings_given_to_our_processes_exist() -> None:
    from streams.settings import Settings

    given = {name for service in OURS.values() for name in service["environment"] if name.startswith("HEADRACE_")}
    given |= set(re.findall(r"(HEADRACE_\w+)=", DOCKERFILE))
    assert {name.removeprefix("HEADRACE_").lower() for name in given} <= Settings.model_fields.keys()


def test_volumes_are_declared_and_mounted_files_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"]


def test_prometheus_scrapes_every_process() -> None:
    config = yaml.safe_load((ROOT / "ops/prometheus/prometheus.yml").read_text())
    found = {
        name: group["port"]
        for job in config["scrape_configs"]
        for group in job.get("dns_sd_configs", [])
        for name in group["names"]
    }
    assert found.keys() == OURS.keys() - ONE_SHOT
    for name, port in found.items():
        health = "livez" if name == "gateway" else "healthz"
        assert f":{port}/{health}" in SERVICES[name]["healthcheck"]["test"][-1]


def test_the_image_is_pinned_hash_locked_and_not_root() -> None:
    origins = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert len(origins) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", origins.pop())
    assert "--require-hashes" in DOCKERFILE
    assert re.search(r"^USER (?!0|root)", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n.*/healthz", DOCKERFILE, re.MULTILINE)


def test_everything_the_image_copies_exists_and_is_let_through() -> None:
    let_through = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = [line.split()[1:-1] for line in re.findall(r"^COPY (?!--from).*", DOCKERFILE, re.MULTILINE)]
    sources = {source for line in copied for source in line}
    assert all((ROOT / source).exists() for source in sources)
    assert sources == let_through


def test_the_packages_left_out_of_the_image_are_in_the_lock() -> None:
    left_out = re.findall(r"skip = /\^\((.*?)\)==/", DOCKERFILE)[0].split("|")
    lock = (ROOT / "requirements.lock").read_text()
    assert all(re.search(rf"^{name}==", lock, re.MULTILINE) for name in left_out)
