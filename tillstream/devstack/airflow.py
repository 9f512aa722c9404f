"""Airflow on this machine: `airflow standalone` in a folder of the home, with the nightly DAGs.

Nothing here imports Airflow: it runs as programs, with an environment that says everything.
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import httpx
import psutil

from tillstream.devstack import process
from tillstream.devstack.ports import LOOPBACK, free_port, is_free
from tillstream.devstack.stack_file import write_private
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import Settings

NAME = "airflow"
USER = "tillstream"
POOL = "tillstream_nights"
_DAGS = Path(__file__).resolve().parents[2] / "orchestration" / "dags"
_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 60.0
_PARTS_STOP_S = 10.0
_COMMAND_TIMEOUT_S = 180.0
_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_PARTS = ("metadatabase", "scheduler", "dag_processor")


@dataclass(frozen=True, slots=True)
class SignIn:
    """Where Airflow is, and who may come in."""

    url: str
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class AirflowStatus:
    """`parts` are what Airflow says of itself: healthy or not, by name; empty when it is down."""

    running: bool
    url: str
    parts: dict[str, str]


def airflow_home(settings: Settings) -> Path:
    return settings.home / "airflow"


def environment(
    settings: Settings, *, port: int = 0, host: str = LOOPBACK, paused: bool = False
) -> dict[str, str]:
    """What an Airflow of this home needs to be told. Tasks find the services by TILLSTREAM_HOME, or
    as this process does, by the environment.

    Raises ConfigError when Airflow is not installed.
    """
    binary = Path(sys.executable).parent
    if find_spec("airflow") is None or not (binary / "airflow").exists():
        raise ConfigError(
            "Airflow is not installed", hint="install it with: uv sync --frozen --group airflow"
        )
    home = airflow_home(settings)
    url = f"http://{LOOPBACK}:{port}"
    told = {
        "AIRFLOW_HOME": str(home),
        # Its parts wait for one another's writes, longer than the usual 5 seconds.
        _DATABASE: os.environ.get(
            _DATABASE, f"sqlite:///{quote(str(home / 'airflow.db'))}?timeout=60"
        ),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        # Half a minute, the default, is too little for a machine that is busy with something else.
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "180",
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "240",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": str(paused),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": host,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
        # Tasks are short, and each waits for the one before: a second between is much.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
        # Otherwise it reports every start to a company.
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "TILLSTREAM_HOME": str(settings.home),
        "TILLSTREAM_CACHE": str(settings.cache),
        # Airflow starts its parts by the name `airflow`.
        "PATH": f"{binary}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    return {**os.environ, **told, **_secrets(home)}


def prepare(settings: Settings, env: Mapping[str, str]) -> None:
    """Airflow's own tables, and the pool of the nights. Safe to repeat. Raises ServiceError."""
    run(["db", "migrate"], env)
    run(["pools", "set", POOL, "1", "One night at a time at a warehouse"], env)


def run(arguments: list[str], env: Mapping[str, str], *, timeout_s: float | None = None) -> str:
    """An `airflow` command; what it printed. Raises ServiceError with the end of that."""
    command = [str(Path(sys.executable).parent / "airflow"), *arguments]
    try:
        done = subprocess.run(
            command,
            env=dict(env),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s or _COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ServiceError(f"airflow {' '.join(arguments)} took over {exc.timeout:.0f} s") from exc
    if done.returncode:
        last = "\n  ".join(done.stdout.splitlines()[-15:])
        raise ServiceError(f"airflow {' '.join(arguments)} failed:\n  {last}")
    return done.stdout


def up(settings: Settings, *, paused: bool = False) -> SignIn:
    """Start Airflow, or leave it as it is when it runs. Raises ServiceError, ConfigError."""
    known = process.running(NAME, home=settings.home)
    if known is None:
        port = _port(settings)
        env = environment(settings, port=port, paused=paused)
        prepare(settings, env)
        program = str(Path(sys.executable).parent / "airflow")
        endpoint = f"{LOOPBACK}:{port}"
        known = process.start(
            NAME, [program, "standalone"], home=settings.home, endpoint=endpoint, env=env
        )
        try:
            process.wait_until_healthy(
                lambda: _healthy(endpoint), known, timeout_s=_START_TIMEOUT_S
            )
        except ServiceError:
            process.kill(known)
            raise
    password = json.loads((airflow_home(settings) / "passwords.json").read_text("utf-8"))[USER]
    return SignIn(f"http://{known.endpoint}", USER, password)


def serve(settings: Settings, *, host: str, port: int, paused: bool = False) -> NoReturn:
    """Become Airflow until it is told to stop. Raises ServiceError, ConfigError."""
    env = environment(settings, port=port, host=host, paused=paused)
    prepare(settings, env)
    program = Path(sys.executable).parent / "airflow"
    os.execve(program, [str(program), "standalone"], env)


def down(settings: Settings) -> bool:
    """Stop it and all its parts; whether it was running."""
    managed = process.running(NAME, home=settings.home)
    if managed is None:
        process.pid_file(settings.home, NAME).unlink(missing_ok=True)
        return False
    parts: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        parts = psutil.Process(managed.pid).children(recursive=True)
    process.stop(managed, home=settings.home, timeout_s=_STOP_TIMEOUT_S)
    # `standalone` does not wait for what it started.
    _, left = psutil.wait_procs(parts, timeout=_PARTS_STOP_S)
    for part in left:
        with suppress(psutil.NoSuchProcess):
            part.kill()
    psutil.wait_procs(left, timeout=_PARTS_STOP_S)
    return True


def status(settings: Settings) -> AirflowStatus:
    managed = process.running(NAME, home=settings.home)
    if managed is None:
        return AirflowStatus(False, "", {})
    return AirflowStatus(True, f"http://{managed.endpoint}", _parts(managed.endpoint))


def _port(settings: Settings) -> int:
    """The port of the last time, when it is free, so that bookmarks hold."""
    file = airflow_home(settings) / "port"
    try:
        port = int(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        port = 0
    if not port or not is_free(port):
        port = free_port()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(str(port), encoding="utf-8")
    return port


def _secrets(home: Path) -> dict[str, str]:
    """A password for the one user, and keys that Airflow signs with: made once, for owner only."""
    passwords = home / "passwords.json"
    if not passwords.exists():
        write_private(passwords, json.dumps({USER: secrets.token_urlsafe(12)}))
    keys = home / "keys.json"
    if not keys.exists():
        names = ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")
        write_private(keys, json.dumps({name: secrets.token_urlsafe(32) for name in names}))
    found: dict[str, str] = json.loads(keys.read_text(encoding="utf-8"))
    return found


def _parts(endpoint: str) -> dict[str, str]:
    try:
        answer = httpx.get(
            f"http://{endpoint}/api/v2/monitor/health", timeout=5.0, trust_env=False
        ).json()
    except (httpx.HTTPError, ValueError):
        return {}
    return {name: str((answer.get(name) or {}).get("status")) for name in _PARTS}


def _healthy(endpoint: str) -> bool:
    parts = _parts(endpoint)
    return bool(parts) and set(parts.values()) == {"healthy"}
