"""Scenarios: what is refused, where, and that those that come with the program stay as they are."""

import hashlib
from pathlib import Path

import pytest

from simulators.world.preview import messages_of
from simulators.world.scenario import bundled, load_scenario, parse_scenario
from simulators.world.world import make_world
from tillstream.contracts.catalogue import load_catalogue
from tillstream.errors import ConfigError

HEAD = "name: mine\nversion: 1\n"


def _refused(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_scenario(HEAD + text, where="mine.yaml")
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rates: 5\n", "mine.yaml, line 3, rates: there is no such field; allowed: demand, "),
        ("rate: -5\n", "mine.yaml, line 3, rate: input should be greater than 0 (got -5)"),
        (
            "demand:\n  promoted: 0.1\n  profile: flatt\n",
            "mine.yaml, line 5, demand.profile: input should be 'fitted' or 'flat' (got 'flatt')",
        ),
        (
            "demand:\n  trafic: 2\n",
            "line 4, demand.trafic: there is no such field; allowed: deepest_",
        ),
        (
            "start: 2026-02-30\n",
            "mine.yaml, line 3, start: an impossible date: day is out of range",
        ),
        ("start: 1999-01-01\n", "start must lie in the years 2001 to 2098"),
        ("stores: many\n", "mine.yaml, line 3, stores: "),
        (
            "shocks:\n  - kind: earthquake\n    stores: 1\n",
            "mine.yaml, line 4, shocks.0: input tag 'earthquake' found using 'kind' does not match "
            "any of the expected tags: 'supplier_strike', 'cold_chain_failure', 'store_offline'",
        ),
        (
            "shocks:\n  - kind: store_offline\n    stores: 2\n    minutes: 5\n",
            "mine.yaml, line 5, shocks.0.stores: input should be less than or equal to 1 (got 2)",
        ),
        (
            "faults: hurricane\n",
            "mine.yaml, line 3, faults: input should be 'none', 'light' or 'storm' "
            "(got 'hurricane')",
        ),
        ("faults:\n  duplicate: 0.1\n", "line 4, faults.duplicate: there is no such field"),
        ("rate: [\n", "mine.yaml, line 4: not YAML: "),
        ("- 1\n", "mine.yaml, line 3: not YAML: "),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, said: str) -> None:
    assert said in _refused(text)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml, version: field required"):
        parse_scenario("name: mine\n", where="mine.yaml")


def test_a_scenario_that_does_not_exist_names_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no scenario") as refused:
        load_scenario(str(tmp_path / "none.yaml"))
    assert "quiet-tuesday" in (refused.value.hint or "")


def test_what_the_command_line_gives_replaces_what_the_file_says() -> None:
    scenario = load_scenario("quiet-tuesday", stores=3, rate=None)
    assert (scenario.stores, scenario.rate) == (3, 10)
    with pytest.raises(ConfigError, match=r"--stores: input should be greater than or equal to 1"):
        load_scenario("quiet-tuesday", stores=0)


def test_a_file_is_a_scenario(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "start: 2026-03-10\nfaults:\n  duplicates: 0.5\n", encoding="utf-8")
    scenario = load_scenario(str(path))
    assert scenario.start_ms(0) == 1_773_100_800_000
    assert scenario.fault_plan.duplicates == 0.5


# A prediction's score means something only on the same events. What changes them is a new version
# of a scenario: raise it there, and note its events here.
FROZEN = {
    "black-friday": (1, "7b57c860911c063d"),
    "cold-chain-failure": (1, "f7ffbc514d474102"),
    "load-1000x500": (1, "e12bda09291edc42"),
    "quiet-tuesday": (1, "4408e65f71e11915"),
    "store-offline": (1, "ca5e4ae36de8e711"),
    "supplier-strike": (1, "9d604386ce4efab6"),
}


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_bundled_scenarios_are_frozen(name: str) -> None:
    full = load_scenario(name)
    scenario = full.model_copy(update={"stores": 4, "products": 300, "minutes": 60.0})
    world = make_world(scenario, start_ms=scenario.start_ms(1_790_000_000_000))
    sha = hashlib.sha256()
    for messages in messages_of(world, load_catalogue(), b"key"):
        for value in messages.value:
            sha.update(value)
    assert (full.version, sha.hexdigest()[:16]) == FROZEN[name]


def test_every_bundled_scenario_is_frozen() -> None:
    assert set(FROZEN) == set(bundled())
