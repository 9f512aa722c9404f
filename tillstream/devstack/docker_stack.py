"""`tillstream up --docker`: start docker-compose.yml and watch it become healthy."""

import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import DockerException
from rich.console import Console

from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import Settings

PROJECT = "tillstream"
_ROOT = Path(__file__).resolve().parents[2]
_LABEL = "com.docker.compose"
_READY_TIMEOUT_S = 300.0
_POLL_S = 1.0


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One container as people think of it; `detail` is Docker's own words."""

    service: str
    phase: Phase
    detail: str


def up_docker(settings: Settings, console: Console) -> None:
    """Build and start every service, and return once all are ready. Safe to repeat.

    Secrets come from `.env` beside docker-compose.yml, not from `settings`: the containers get
    their own. Raises ServiceError when there is no engine, when a service fails, or when not all
    are ready in time; ConfigError when `.env` is missing.
    """
    del settings  # the containers are configured by docker-compose.yml alone
    client = _engine()
    try:
        if not (_ROOT / ".env").is_file():
            raise ConfigError(
                f"{_ROOT / '.env'} is missing: it holds the passwords of the services",
                hint="cp .env.example .env, then fill in every empty value",
            )
        _compose(["up", "--detach", "--build"])
        _watch(client, console)
    finally:
        client.close()


def down_docker(settings: Settings, console: Console) -> None:
    """Stop and remove the containers; the volumes, and so all data, stay."""
    del settings
    _engine().close()
    _compose(["--profile", "*", "down"])
    console.print("[bold]down[/] (the data volumes stay)")


def state_of(labels: Mapping[str, str], state: Mapping[str, Any]) -> ServiceState:
    """What a container's labels and Docker's `State` object mean.

    A long-running service is ready when its health check passes, a job when it has exited 0.
    """
    service = labels.get(f"{_LABEL}.service", "?")
    status = str(state.get("Status", "unknown"))
    health = (state.get("Health") or {}).get("Status")
    if status in ("exited", "dead"):
        code = int(state.get("ExitCode", 1))
        phase = Phase.READY if status == "exited" and code == 0 else Phase.FAILED
        return ServiceState(service, phase, f"exit code {code}")
    if status == "restarting":
        return ServiceState(service, Phase.FAILED, "keeps restarting")
    if status == "running" and health is not None:
        phase = {"healthy": Phase.READY, "unhealthy": Phase.FAILED}.get(health, Phase.STARTING)
        return ServiceState(service, phase, health)
    return ServiceState(service, Phase.STARTING, status)


def all_ready(states: Iterable[ServiceState]) -> bool:
    """Whether everything is up. Raises ServiceError naming each service that failed."""
    known = list(states)
    failed = [one for one in known if one.phase is Phase.FAILED]
    if failed:
        words = ", ".join(f"{one.service} ({one.detail})" for one in failed)
        raise ServiceError(
            f"Docker services failed: {words}",
            hint=f"docker compose -p {PROJECT} logs {failed[0].service}",
        )
    return bool(known) and all(one.phase is Phase.READY for one in known)


def _engine() -> docker.DockerClient:
    try:
        client = docker.from_env(timeout=10)
        client.ping()
    except (DockerException, requests.RequestException) as exc:
        raise ServiceError(
            "no Docker engine answers",
            hint="start Docker, or run `tillstream up` without --docker: it needs none",
        ) from exc
    return client


def _compose(arguments: list[str]) -> None:
    binary = shutil.which("docker")
    if binary is None:
        raise ServiceError(
            "the `docker` command is missing", hint="install the Docker CLI with its compose plugin"
        )
    command = [binary, "compose", "--project-name", PROJECT, "--project-directory", str(_ROOT)]
    done = subprocess.run([*command, *arguments], check=False)
    if done.returncode:
        raise ServiceError(
            f"docker compose {arguments[0]} failed with exit code {done.returncode}",
            hint="its own message is above; `docker compose version` must be 2.20 or later",
        )


def _watch(client: docker.DockerClient, console: Console) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    said: dict[str, ServiceState] = {}
    while True:
        states = _states(client)
        for one in states:
            if said.get(one.service) != one:
                said[one.service] = one
                console.print(f"  {one.service:<12} {one.phase} ({one.detail})")
        if all_ready(states):
            return
        if time.monotonic() > deadline:
            late = ", ".join(one.service for one in states if one.phase is not Phase.READY)
            raise ServiceError(
                f"not ready within {_READY_TIMEOUT_S:.0f} s: {late or 'no container was found'}",
                hint=f"docker compose -p {PROJECT} ps",
            )
        time.sleep(_POLL_S)


def _states(client: docker.DockerClient) -> list[ServiceState]:
    try:
        found = client.containers.list(
            all=True,
            ignore_removed=True,
            filters={"label": [f"{_LABEL}.project={PROJECT}", f"{_LABEL}.oneoff=False"]},
        )
    except (DockerException, requests.RequestException) as exc:
        raise ServiceError("the Docker engine stopped answering", hint="docker info") from exc
    states = [state_of(one.labels, one.attrs["State"]) for one in found]
    # The simulator is started by hand, and its end says nothing about the platform.
    return sorted(
        (one for one in states if one.service != "simulator"), key=lambda one: one.service
    )
