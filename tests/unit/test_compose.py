"""docker-compose.yml against the Compose Specification, our settings, and itself."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import typer
import yaml
from rich.console import Console

from lake.bucket import service_policies
from tillstream.devstack.docker_stack import Phase, ServiceState, all_ready, state_of, up_docker
from tillstream.errors import ServiceError
from tillstream.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
# Run to their end, or are started by hand: there is no health to check.
JOBS = {"lake-user", "provision", "simulator"}
OURS = {"provision", "stream", "simulator", "airflow"}
REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<rest>[^}]*))?\}")


def resolved(value: str) -> str:
    """As compose would, with every secret set to its own name."""

    def one(match: re.Match[str]) -> str:
        return match["rest"] if match["kind"] == "-" else match["name"]

    return REFERENCE.sub(one, value)


def environment(service: str) -> dict[str, str]:
    return {name: resolved(value) for name, value in SERVICES[service]["environment"].items()}


def settings_of(service: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> Settings:
    for name in [name for name in os.environ if name.startswith("TILLSTREAM_")]:
        monkeypatch.delenv(name)
    for name, value in environment(service).items():
        monkeypatch.setenv(name, value)
    return load_settings(home=home)


def test_file_fits_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/unit/data/compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.validate(COMPOSE, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"kafka": {"imagee": "x"}}}, schema)


@pytest.mark.parametrize("service", sorted(OURS))
def test_every_variable_of_ours_is_a_setting(
    service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A misspelt part after `__` is refused by load_settings; a misspelt first part is ignored.
    first_parts = {
        name.removeprefix("TILLSTREAM_").split("__")[0].lower() for name in environment(service)
    }
    assert first_parts <= set(Settings.model_fields)
    settings = settings_of(service, monkeypatch, tmp_path)
    assert settings.customer_key.get_secret_value() == "CUSTOMER_KEY"
    assert settings.lake_url == "s3://tillstream-lake"


def test_image_holds_every_package() -> None:
    """What `.dockerignore` leaves out is missing in the container and nowhere else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in packages} <= set(kept)


def test_image_sets_only_real_settings() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    assert {name.lower() for name in re.findall(r"TILLSTREAM_(\w+)=", dockerfile)} == {
        "home",
        "cache",
    } & set(Settings.model_fields)


def test_endpoints_agree_with_the_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = settings_of("stream", monkeypatch, tmp_path)
    kafka = environment("kafka")
    advertised = dict(one.split("://", 1) for one in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = {
        name: address.rpartition(":")[2]
        for name, address in (one.split("://", 1) for one in kafka["KAFKA_LISTENERS"].split(","))
    }
    assert settings.kafka.bootstrap == advertised["INTERNAL"] == f"kafka:{listening['INTERNAL']}"
    assert environment("registry")["APICURIO_KAFKASQL_BOOTSTRAP_SERVERS"] == advertised["INTERNAL"]
    # What the host is told to connect to is what is published, and it is the HOST listener.
    published = resolved(SERVICES["kafka"]["ports"][0])
    assert published == f"{advertised['HOST']}:{listening['HOST']}"

    warehouse, clickhouse = settings.warehouse, environment("clickhouse")
    assert warehouse.host == "clickhouse"
    assert SERVICES["clickhouse"]["ports"][0].endswith(f":{warehouse.port}")
    assert (warehouse.user, warehouse.database, warehouse.password.get_secret_value()) == (
        clickhouse["CLICKHOUSE_USER"],
        clickhouse["CLICKHOUSE_DB"],
        clickhouse["CLICKHOUSE_PASSWORD"],
    )

    assert settings.lake.endpoint is not None
    minio = urlsplit(settings.lake.endpoint)
    assert minio.hostname == "minio"
    assert f":{minio.port}" in SERVICES["minio"]["command"]
    assert environment("lake-user")["MINIO_ENDPOINT"] == settings.lake.endpoint
    assert environment("lake-user")["LAKE_ACCESS_KEY"] == settings.lake.access_key
    nights = environment("airflow")["TILLSTREAM_LAKE__ACCESS_KEY"]
    assert environment("lake-user")["NIGHTS_ACCESS_KEY"] == nights != settings.lake.access_key

    assert settings.registry.url is not None
    registry = urlsplit(settings.registry.url)
    assert registry.hostname == "registry"
    assert environment("registry")["QUARKUS_HTTP_PORT"] == str(registry.port)
    assert f"{registry.path}/subjects" in SERVICES["registry"]["healthcheck"]["test"][-1]


def test_only_provision_holds_the_administrators_keys() -> None:
    assert environment("provision")["TILLSTREAM_LAKE__ACCESS_KEY"] == "MINIO_ROOT_USER"
    for service in OURS - {"provision"}:
        assert "MINIO_ROOT" not in json.dumps(SERVICES[service])


def test_lake_policies_are_the_least_each_service_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings_of("stream", monkeypatch, tmp_path)
    script = (ROOT / "deploy/minio/lake-user.sh").read_text(encoding="utf-8")
    for service, wanted in service_policies(settings.lake_url).items():
        assert f" {service}" in script
        file = ROOT / f"deploy/minio/{service}-policy.json"
        assert json.loads(file.read_text(encoding="utf-8")) == wanted


def test_no_secret_has_a_default() -> None:
    secrets = set()
    for match in REFERENCE.finditer((ROOT / "docker-compose.yml").read_text(encoding="utf-8")):
        if match["kind"] == "-":
            assert match["name"].endswith("_PORT")
        else:
            assert match["kind"] == "?", f"{match['name']} would be empty without a word"
            secrets.add(match["name"])
    for service, body in SERVICES.items():
        for name, value in body.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|ACCESS_KEY|CUSTOMER_KEY", name):
                assert REFERENCE.fullmatch(value), f"{service}: {name} is written out"
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == secrets
    assert not re.search(r"^\w+=.", example, re.MULTILINE)


def test_every_image_is_pinned() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    images = [body["image"] for body in SERVICES.values()]
    for image in [*images, *re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)]:
        tag = image.rpartition("/")[2].partition(":")[2]
        assert re.search(r"\d", tag), f"{image} has no version"
        assert "latest" not in tag


def test_every_long_running_service_has_a_health_check() -> None:
    for service, body in SERVICES.items():
        assert ("healthcheck" in body) == (service not in JOBS), service
        assert body["restart"] == ("no" if service in JOBS else "unless-stopped"), service


def test_dependencies_can_be_met() -> None:
    for service, body in SERVICES.items():
        for other, rule in body.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in JOBS else "service_healthy"
            assert rule["condition"] == wanted, f"{service} -> {other}"


def test_ports_are_published_on_loopback_once() -> None:
    ports = [resolved(port) for body in SERVICES.values() for port in body.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports) == 7


def test_data_lives_in_named_volumes() -> None:
    used = {
        volume.partition(":")[0] for body in SERVICES.values() for volume in body.get("volumes", [])
    }
    assert {name for name in used if not name.startswith("./")} == set(COMPOSE["volumes"])
    for path in (name for name in used if name.startswith("./")):
        assert (ROOT / path).exists()


def test_prometheus_asks_services_that_are_there() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    static = {
        one["static_configs"][0]["targets"][0] for one in jobs.values() if "static_configs" in one
    }
    metrics = (ROOT / "deploy/clickhouse/metrics.xml").read_text(encoding="utf-8")
    clickhouse_port = re.search(r"<port>(\d+)</port>", metrics)
    assert clickhouse_port is not None
    assert static == {f"clickhouse:{clickhouse_port[1]}", "minio:9000"}
    assert environment("minio")["MINIO_PROMETHEUS_AUTH_TYPE"] == "public"
    # The others tell of themselves in the home, which prometheus shares; their host names resolve.
    (pattern,) = jobs["tillstream"]["file_sd_configs"][0]["files"]
    assert pattern == "/var/lib/tillstream/run/metrics/*.json"
    assert "app-home:/var/lib/tillstream:ro" in SERVICES["prometheus"]["volumes"]
    for service in ("stream", "simulator"):
        assert SERVICES[service]["hostname"] == service
        assert environment(service)["TILLSTREAM_TELEMETRY__HOST"] == "0.0.0.0"


# kafka-python reads its own schemas in a way that Python 3.11 deprecates.
@pytest.mark.filterwarnings(r"ignore:\w+_text is deprecated:DeprecationWarning")
@pytest.mark.parametrize("service", sorted(OURS))
def test_commands_exist(service: str) -> None:
    from tillstream.cli.main import app as cli

    program, name, *arguments = SERVICES[service]["command"]
    assert program == "tillstream"
    command = typer.main.get_command(cli)
    context = command.make_context("tillstream", [name, *arguments], resilient_parsing=True)
    _, found, rest = command.resolve_command(context, [name, *arguments])  # type: ignore[attr-defined]
    assert found is not None
    found.make_context(name, rest, parent=context).close()


@pytest.mark.parametrize(
    ("state", "exit_code"),
    [('{"state": "running"}', 0), ('{"state": "starting"}', 1), ("{", 1), (None, 1)],
)
def test_stream_is_healthy_only_while_it_runs(
    tmp_path: Path, state: str | None, exit_code: int
) -> None:
    if state is not None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "stream.json").write_text(state, encoding="utf-8")
    script = ROOT / SERVICES["stream"]["healthcheck"]["test"][-1].removeprefix("/app/")
    done = subprocess.run(
        [sys.executable, str(script)], env={"TILLSTREAM_HOME": str(tmp_path)}, check=False
    )
    assert done.returncode == exit_code


@pytest.mark.parametrize(
    ("state", "phase", "detail"),
    [
        ({"Status": "running", "Health": {"Status": "healthy"}}, Phase.READY, "healthy"),
        ({"Status": "running", "Health": {"Status": "starting"}}, Phase.STARTING, "starting"),
        ({"Status": "running", "Health": {"Status": "unhealthy"}}, Phase.FAILED, "unhealthy"),
        ({"Status": "running"}, Phase.STARTING, "running"),
        ({"Status": "created", "ExitCode": 0}, Phase.STARTING, "created"),
        ({"Status": "exited", "ExitCode": 0}, Phase.READY, "exit code 0"),
        ({"Status": "exited", "ExitCode": 4}, Phase.FAILED, "exit code 4"),
        ({"Status": "restarting", "ExitCode": 1}, Phase.FAILED, "keeps restarting"),
    ],
)
def test_container_state_is_understood(state: dict[str, Any], phase: Phase, detail: str) -> None:
    labels = {"com.docker.compose.service": "kafka"}
    assert state_of(labels, state) == ServiceState("kafka", phase, detail)


def test_stack_is_ready_when_every_service_is() -> None:
    ready = ServiceState("kafka", Phase.READY, "healthy")
    assert all_ready([ready])
    assert not all_ready([])
    assert not all_ready([ready, ServiceState("stream", Phase.STARTING, "created")])
    with pytest.raises(ServiceError, match=r"provision \(exit code 4\)") as failed:
        all_ready([ready, ServiceState("provision", Phase.FAILED, "exit code 4")])
    assert failed.value.hint == "docker compose -p tillstream logs provision"


def test_missing_engine_is_one_clear_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Not a missing Unix socket: the Docker SDK would leave its own end unclosed.
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(ServiceError, match="no Docker engine answers") as missing:
        up_docker(load_settings(home=tmp_path), Console())
    assert "tillstream up" in (missing.value.hint or "")
