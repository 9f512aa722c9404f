"""Scenarios: what is simulated, as a checked file.

A scenario is frozen once published: whoever changes what it makes raises its `version`, so that
scores of predictions are compared on the same one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simulators.world.yaml_places import allowed_keys, find, impossible_date
from tillstream.errors import ConfigError

FIRST_YEAR, LAST_YEAR = 2001, 2098

_FOLDER = files("simulators") / "scenarios"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Demand(_Frozen):
    """How people shop. `traffic` multiplies visits; `flat` has neither hours nor seasons."""

    profile: Literal["fitted", "flat"] = "fitted"
    traffic: float = Field(default=1.0, gt=0, le=100)
    same_size_stores: bool = False
    promoted: float = Field(default=0.03, ge=0, le=1, description="Share of products on promotion")
    deepest_discount: float = Field(default=0.5, gt=0, lt=1)
    substitutes: float = Field(default=0.35, ge=0, le=1)
    returned: float = Field(default=0.015, ge=0, le=1, description="Share of sold lines")
    loyal: float = Field(default=0.7, ge=0, le=1, description="Share of baskets with a card")


class Records(_Frozen):
    """How wrong the books are, and get. The shares of wrong records and their size are those of
    DeHoratius and Raman (2008): 65 % of nearly 370,000 records."""

    wrong_at_start: float = Field(default=0.65, ge=0, le=1)
    error_share: float = Field(default=0.35, ge=0, le=2, description="Mean size, of stock on hand")
    theft: float = Field(default=0.004, ge=0, le=1, description="Units stolen, of units sold")
    damage: float = Field(default=0.002, ge=0, le=1, description="Units broken, of units sold")
    unnoticed_short: float = Field(default=0.5, ge=0, le=1)
    counted_daily: float = Field(default=0.02, ge=0, le=1, description="Share of moving shelves")
    gaps_noticed: float = Field(default=0.15, ge=0, le=1, description="Of empty shelves, a day")
    miscounted: float = Field(default=0.05, ge=0, le=1)


class SupplierStrike(_Frozen):
    """A share of the suppliers delivers nothing for some days."""

    kind: Literal["supplier_strike"]
    suppliers: float = Field(gt=0, le=1)
    from_day: int = Field(default=0, ge=0, description="Days after the start")
    days: int = Field(gt=0)


class ColdChainFailure(_Frozen):
    """Chilled goods of some stores spoil at once; the books learn of it hours later."""

    kind: Literal["cold_chain_failure"]
    stores: float = Field(gt=0, le=1)
    after_minutes: float = Field(default=60, ge=0)
    noticed_after_minutes: float = Field(default=180, gt=0)


class StoreOffline(_Frozen):
    """Some stores go on selling without a connection, and send everything when it is back."""

    kind: Literal["store_offline"]
    stores: float = Field(gt=0, le=1)
    after_minutes: float = Field(default=30, ge=0)
    minutes: float = Field(gt=0)


Shock = Annotated[SupplierStrike | ColdChainFailure | StoreOffline, Field(discriminator="kind")]


class Faults(_Frozen):
    """What goes wrong on the way. Shares are of all events, or of a store's slots."""

    duplicates: float = Field(default=0, ge=0, le=1)
    reordered: float = Field(default=0, ge=0, le=1)
    reordered_by_s: float = Field(default=20, gt=0)
    corrupted: float = Field(default=0, ge=0, le=0.4)
    clock_wrong: float = Field(default=0, ge=0, le=0.4, description="Share of a store's slots")
    old_tills: float = Field(default=0, ge=0, le=1, description="Share of tills on schema v1")
    late: float = Field(default=0, ge=0, le=1, description="Share of slots that come late, at once")
    late_by_minutes: float = Field(default=30, gt=0)
    resent: float = Field(default=0, ge=0, le=1, description="Share of slots a till sends again")
    resent_after_minutes: float = Field(default=1440, gt=0)

    @property
    def any(self) -> bool:
        return any(
            (
                *(self.duplicates, self.reordered, self.corrupted, self.clock_wrong),
                *(self.old_tills, self.late, self.resent),
            )
        )


FAULTS: Mapping[str, Faults] = {
    "none": Faults(),
    "light": Faults(
        duplicates=0.001,
        reordered=0.002,
        corrupted=0.0001,
        clock_wrong=0.0005,
        old_tills=0.1,
        late=0.002,
    ),
    "storm": Faults(
        duplicates=0.01,
        reordered=0.02,
        corrupted=0.001,
        clock_wrong=0.004,
        old_tills=0.25,
        late=0.03,
        late_by_minutes=4,
        resent=0.01,
        resent_after_minutes=3,
    ),
}


class Scenario(_Frozen):
    """Everything a run depends on, besides what the pipeline is. `rate` is events a minute and
    store, on average over a day; `start` is UTC, None means now."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    version: int = Field(ge=1)
    description: str = ""
    seed: int = Field(default=1, ge=0, lt=2**63)
    stores: int = Field(default=50, ge=1, le=9999)
    products: int = Field(default=5000, ge=20, le=999_999)
    rate: float = Field(default=20, gt=0, le=5000)
    start: datetime | None = None
    minutes: float = Field(default=60, gt=0)
    speed: float | None = Field(default=None, ge=1, description="None is as fast as it goes")
    demand: Demand = Demand()
    records: Records = Records()
    shocks: tuple[Shock, ...] = ()
    faults: Faults | Literal["none", "light", "storm"] = "none"

    @model_validator(mode="after")
    def _start_in_a_known_year(self) -> Self:
        if self.start is not None and not FIRST_YEAR <= self.start.year <= LAST_YEAR:
            raise ValueError(f"start must lie in the years {FIRST_YEAR} to {LAST_YEAR}")
        return self

    @property
    def fault_plan(self) -> Faults:
        return FAULTS[self.faults] if isinstance(self.faults, str) else self.faults

    def start_ms(self, now_ms: int) -> int:
        """The first event's time at the earliest; whole minutes."""
        if self.start is None:
            return now_ms // 60_000 * 60_000
        start = self.start if self.start.tzinfo else self.start.replace(tzinfo=UTC)
        return int(start.timestamp()) // 60 * 60_000


def bundled() -> list[str]:
    """The names of the scenarios that come with the program."""
    return sorted(
        path.name.removesuffix(".yaml") for path in _FOLDER.iterdir() if path.name.endswith(".yaml")
    )


def load_scenario(name_or_path: str, **overrides: Any) -> Scenario:
    """A bundled scenario by name, or a file. `overrides` replace its fields.

    Raises ConfigError naming file, line, field and what is allowed.
    """
    if name_or_path in bundled():
        where, text = f"scenario {name_or_path}", (_FOLDER / f"{name_or_path}.yaml").read_text()
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise ConfigError(
                f"there is no scenario {name_or_path!r}",
                hint=f"one of {', '.join(bundled())}, or a YAML file",
            )
        try:
            where, text = str(path), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{path} cannot be read: {exc}") from exc
    return parse_scenario(text, where=where, overrides=overrides)


def parse_scenario(
    text: str, *, where: str, overrides: Mapping[str, Any] | None = None
) -> Scenario:
    """See `load_scenario`."""
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(exc, "problem", None) or exc
        raise ConfigError(f"{where}{line}: not YAML: {problem}") from exc
    except ValueError as exc:  # a date such as 2026-02-30
        place = impossible_date(text)
        at = f", line {place.line}, {place.field}" if place else ""
        raise ConfigError(f"{where}{at}: an impossible date: {exc}") from exc
    if not isinstance(content, dict):
        raise ConfigError(f"{where}, line 1: a scenario is a mapping of fields to values")
    # A day alone is its midnight.
    start = content.get("start")
    if isinstance(start, date) and not isinstance(start, datetime):
        content["start"] = datetime(start.year, start.month, start.day, tzinfo=UTC)
    try:
        return Scenario.model_validate({**content, **given})
    except ValidationError as exc:
        told = [_told(error, text, where, given) for error in _meant(exc.errors())]
        raise ConfigError("; ".join(told)) from exc


def _meant(errors: Sequence[Any]) -> list[Any]:
    """Of what each member of a union says, that of the one which was meant."""
    names = {error["loc"][:1] for error in errors if error["type"] == "literal_error"}

    def about_the_other(error: Mapping[str, Any]) -> bool:
        is_name = isinstance(error["input"], str)
        kind = error["type"]
        return (kind == "model_type" and is_name) or (kind == "literal_error" and not is_name)

    meant = [e for e in errors if e["loc"][:1] not in names or not about_the_other(e)]
    return meant or list(errors)


def _told(error: Mapping[str, Any], text: str, where: str, overrides: Mapping[str, Any]) -> str:
    # Pydantic names the members of a union in the path; a scenario's author did not write them.
    path = [part for part in error["loc"] if not (isinstance(part, str) and part[:1].isupper())]
    path = [part for part in path if not str(part).startswith("literal[")]
    if path and path[0] in overrides:
        place = f"--{path[0]}"
    else:
        found = find(text, path)
        line = f", line {found.line}" if found.line else ""
        place = f"{where}{line}, {found.field or 'scenario'}"
    if error["type"] == "extra_forbidden":
        names = ", ".join(allowed_keys(Scenario, path[:-1]))
        return f"{place}: there is no such field; allowed: {names}"
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{place}: {said.lower()}"
    return f"{place}: {said[:1].lower() + said[1:]} (got {error.get('input')!r})"
