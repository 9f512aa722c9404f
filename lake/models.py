"""Trained models in the lake: numbered, never changed, and one of them in service.

models/<name>/v<N>/<file>       what was saved; card.json comes last, so it says that all is there
models/<name>/current.json      which version is in service, and which were before
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lake.client import Lake
from tillstream.errors import ConfigError, IntegrityError

CARD: Final = "card.json"
DEMAND_FORECAST: Final = "demand-forecast"
SLOW_MOVERS: Final = "slow-movers"
MODELS: Final = (DEMAND_FORECAST, SLOW_MOVERS)
_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Registry:
    """The versions of one model. Methods raise ServiceError when the lake cannot be reached."""

    lake: Lake
    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"{self.name!r} is not a model's name", hint="as in demand-forecast")

    def versions(self) -> list[int]:
        """Ascending; a version whose saving was interrupted is none."""
        return sorted(
            version for name, version in self._files() if name == self._card_name(version)
        )

    def save(self, card: Mapping[str, Any], files: Mapping[str, bytes]) -> int:
        """A new version; returns its number. Interrupted, it leaves nothing that counts."""
        version = max(self.versions(), default=0) + 1
        for name, content in files.items():
            self.lake.write_bytes(f"{self._folder}v{version}/{name}", content)
        written = json.dumps({**card, "version": version}, indent=2, default=str)
        self.lake.write_bytes(self._card_name(version), written.encode())
        return version

    def card(self, version: int) -> dict[str, Any]:
        """Raises ConfigError for a version that is not there."""
        if version not in (known := self.versions()):
            raise ConfigError(
                f"{self.name} has no version {version}",
                hint=f"there are {known}" if known else "none was trained yet",
            )
        return self._json(f"v{version}/{CARD}")

    def file(self, version: int, name: str) -> bytes:
        return self.lake.read_bytes(f"{self._folder}v{version}/{name}")

    def current(self) -> int | None:
        """The version in service, None before the first."""
        served = self._served()
        return served[-1] if served else None

    @property
    def has_served(self) -> bool:
        """Whether any version was ever in service."""
        return self.lake.exists(f"{self._folder}current.json")

    def promote(self, version: int) -> None:
        """Put a version into service. Raises ConfigError for one that is not there."""
        self.card(version)
        if self.current() != version:
            self._serve([*self._served(), version])

    def rollback(self, *, to_none: bool = False) -> int | None:
        """Put the version back into service that was there before; returns it. Where there was
        none, none serves any more if that will do, `to_none`; else raises ConfigError."""
        served = self._served()
        if served and to_none and len(served) < 2:
            self._serve([])
            return None
        if len(served) < 2:
            raise ConfigError(
                f"no version of {self.name} was in service before this one",
                hint=f"choose one: tillstream models promote N --model {self.name}",
            )
        self._serve(served[:-1])
        return served[-2]

    def expire(self, *, keep: int) -> list[int]:
        """Delete all but the newest `keep` versions and the two that went into service last, and
        what interrupted savings left; returns the versions that are gone. Safe to repeat."""
        known, served = self.versions(), self._served()
        kept = {*known[-keep:], *served[-2:]}
        still = [version for version in served if version in kept]
        if still != served:
            # First: who goes back must not meet a version that is half deleted.
            self._serve(still)
        gone = [version for version in known if version not in kept]
        for version in gone:
            self.lake.delete(self._card_name(version))
        for name, version in self._files():
            if version not in kept and version < max(known, default=0):
                self.lake.delete(name)
        return gone

    def _files(self) -> list[tuple[str, int]]:
        """What there is of any version, whole or not, with its number."""
        pattern = re.compile(rf"{re.escape(self._folder)}v(\d+)/.+")
        found = (pattern.fullmatch(info.name) for info in self.lake.list(self._folder))
        return [(match[0], int(match[1])) for match in found if match]

    def _card_name(self, version: int) -> str:
        return f"{self._folder}v{version}/{CARD}"

    @property
    def _folder(self) -> str:
        return f"models/{self.name}/"

    def _served(self) -> list[int]:
        if not self.has_served:
            return []
        return [int(version) for version in self._json("current.json")["served"]]

    def _serve(self, served: list[int]) -> None:
        content = json.dumps({"version": served[-1] if served else None, "served": served})
        self.lake.write_bytes(f"{self._folder}current.json", content.encode())

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.lake.read_bytes(self._folder + name))
        except ValueError as exc:
            raise IntegrityError(f"{self._folder}{name} in the lake is damaged: {exc}") from exc
        return found
