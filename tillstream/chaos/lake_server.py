"""A real MinIO server as a local process, for a lake that can be killed."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tillstream.devstack import process
from tillstream.devstack.ports import LOOPBACK, free_port

NAME = "lake"
_START_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class LakeServer:
    """Nothing is started by making one. Data and port stay over a restart."""

    home: Path
    data: Path
    binary: Path
    port: int
    console_port: int = field(default_factory=free_port)
    access_key: str = field(default_factory=lambda: secrets.token_hex(8))
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)

    def ensure(self) -> None:
        """Start it unless it runs, and wait until it serves. Raises ServiceError."""
        managed = self.running() or self._start()
        process.wait_until_healthy(self._is_ready, managed, timeout_s=_START_TIMEOUT_S)

    def running(self) -> process.Managed | None:
        return process.running(NAME, home=self.home)

    def stop(self) -> None:
        if managed := self.running():
            process.stop(managed, home=self.home, timeout_s=10.0)

    def _start(self) -> process.Managed:
        self.data.mkdir(parents=True, exist_ok=True)
        argv = [str(self.binary), "server", "--quiet", "--address", f"{LOOPBACK}:{self.port}"]
        argv += ["--console-address", f"{LOOPBACK}:{self.console_port}", str(self.data)]
        env = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.home),
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        return process.start(
            NAME, argv, home=self.home, endpoint=f"{LOOPBACK}:{self.port}", env=env
        )

    def _is_ready(self) -> bool:
        url = f"http://{LOOPBACK}:{self.port}/minio/health/ready"
        try:
            return httpx.get(url, timeout=2.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False
