"""Which Java is taken, and what is said when there is none."""

from pathlib import Path

import pytest

from tillstream.devstack.java import find_java, parse_major
from tillstream.errors import ServiceError


def install(folder: Path, version: str) -> Path:
    """A Java that knows nothing but its version."""
    executable = folder / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    executable.chmod(0o755)
    return executable


@pytest.mark.parametrize(
    ("banner", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_401"', 8),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_major_version_is_read(banner: str, major: int | None) -> None:
    assert parse_major(banner) == major


def test_java_home_comes_before_path(tmp_path: Path) -> None:
    home, path = install(tmp_path / "21", "21.0.1"), install(tmp_path / "17", "17.0.1")
    environ = {"JAVA_HOME": str(tmp_path / "21"), "PATH": str(path.parent)}
    java = find_java(environ, folders=())
    assert (java.executable, java.major, java.home) == (home, 21, tmp_path / "21")
    assert java.warning is None


def test_supported_java_on_path_beats_a_newer_java_home(tmp_path: Path) -> None:
    install(tmp_path / "25", "25.0.1")
    path = install(tmp_path / "17", "17.0.1")
    environ = {"JAVA_HOME": str(tmp_path / "25"), "PATH": str(path.parent)}
    assert find_java(environ, folders=()).executable == path


def test_newer_java_alone_is_taken_with_a_warning(tmp_path: Path) -> None:
    install(tmp_path / "25", "25.0.1")
    java = find_java({"JAVA_HOME": str(tmp_path / "25")}, folders=())
    assert java.major == 25
    assert "Spark 4.0 supports Java 17 and 21" in (java.warning or "")


def test_installed_java_is_found_without_path(tmp_path: Path) -> None:
    install(tmp_path / "jvm" / "openjdk-17", "17.0.1")
    assert find_java({}, folders=[tmp_path / "jvm"]).major == 17


def test_too_old_java_is_named(tmp_path: Path) -> None:
    old = install(tmp_path / "11", "11.0.2")
    with pytest.raises(ServiceError) as caught:
        find_java({"PATH": str(old.parent)}, folders=())
    assert str(caught.value) == f"Java 17 or newer is needed; found {old} (Java 11)"


def test_missing_java_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="none was found in JAVA_HOME or on PATH") as caught:
        find_java({"PATH": str(tmp_path)}, folders=())
    assert "install Java 17 or 21" in (caught.value.hint or "")
