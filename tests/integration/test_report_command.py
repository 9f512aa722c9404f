"""`tillstream report` and `tillstream dictionary` on a small chain."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.fixtures.warehouse import environment_of
from tillstream.cli.main import app
from tillstream.errors import ConfigError
from tillstream.settings import WarehouseSettings

pytestmark = pytest.mark.integration


def run(warehouse: WarehouseSettings, home: Path, *arguments: str) -> str:
    command = ["--home", str(home), *arguments]
    done = CliRunner().invoke(app, command, env=environment_of(warehouse))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_report_is_a_page_with_its_charts(small_chain: WarehouseSettings, tmp_path: Path) -> None:
    out = tmp_path / "reports"
    said = run(small_chain, tmp_path, "report", "executive", "--png", "--out", str(out))
    written = sorted(path.name for path in out.iterdir())
    assert written[0] == "executive-06.png" and written[-1] == "executive.html"
    assert len(written) == 5 == len(said.split())
    text = (out / "executive.html").read_text(encoding="utf-8")
    assert text.count("<svg") == 4 and "the whole chain" in text


def test_a_store_sees_its_own_figures(small_chain: WarehouseSettings, tmp_path: Path) -> None:
    one, other = (
        json.loads(
            run(
                small_chain,
                tmp_path,
                *("report", "store", "--store", store, "--json", "--out", "x"),
            )
        )
        for store in ("S0001", "S0002")
    )
    assert one["Revenue today"] != other["Revenue today"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--store", "S0001"), "cannot be limited by store"),
        (("--region", "Atlantis"), "there is no region 'Atlantis'"),
        (("--until", "tomorrow"), "'tomorrow' is not a moment"),
    ],
)
def test_a_mistake_is_told(
    small_chain: WarehouseSettings, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        run(small_chain, tmp_path, "report", "executive", "--out", str(tmp_path), *arguments)


def test_the_dictionary_is_for_people_and_scripts(
    small_chain: WarehouseSettings, tmp_path: Path
) -> None:
    shown = run(small_chain, tmp_path, "dictionary", "bi_stock")
    assert "Units on the shelf by its books" in shown
    told = json.loads(run(small_chain, tmp_path, "dictionary", "bi_stores", "--json"))
    assert told[0]["columns"][0]["name"] == "store_id"
    with pytest.raises(ConfigError, match="no table's name begins with 'xyz'"):
        run(small_chain, tmp_path, "dictionary", "xyz")
