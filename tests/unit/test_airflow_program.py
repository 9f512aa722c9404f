"""How Airflow is started, without starting it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tillstream.devstack import airflow
from tillstream.settings import load_settings

pytest.importorskip("airflow")


class Became(Exception):
    """This process would be another program now."""

    def __init__(self, program: Path, arguments: list[str], env: Mapping[str, str]) -> None:
        self.arguments, self.env = [str(program), *arguments], env


def test_in_the_foreground_it_listens_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[Mapping[str, str]] = []

    def execve(*given: Any) -> None:
        assert prepared, "its tables and pool come first"
        raise Became(*given)

    monkeypatch.setattr(airflow, "prepare", lambda _, env: prepared.append(env))
    monkeypatch.setattr(os, "execve", execve)
    with pytest.raises(Became) as became:
        airflow.serve(load_settings(home=tmp_path), host="0.0.0.0", port=8082)
    program, name, what = became.value.arguments
    assert (program, what) == (name, "standalone")
    assert Path(program).name == "airflow"
    env = became.value.env
    assert env is prepared[0]
    assert (env["AIRFLOW__API__HOST"], env["AIRFLOW__API__PORT"]) == ("0.0.0.0", "8082")
    # Its own parts and its tasks find it by loopback.
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8082/execution/"
    assert (tmp_path / "airflow" / "passwords.json").stat().st_mode & 0o077 == 0
