"""Find a Java that the broker and Spark both run on."""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tillstream.errors import ServiceError

MIN_MAJOR = 17
# What Spark 4.0 is built and tested for.
SUPPORTED_MAJORS = (17, 21)
INSTALL_HINT = (
    "install Java 17 or 21 (Debian/Ubuntu: apt install openjdk-17-jre-headless; "
    "macOS: brew install openjdk@17), or set JAVA_HOME to one"
)
# Where packages put Java on Debian, Fedora and macOS.
SYSTEM_FOLDERS = (
    Path("/usr/lib/jvm"),
    Path("/Library/Java/JavaVirtualMachines"),
    Path("/opt/homebrew/opt"),
)


@dataclass(frozen=True, slots=True)
class Java:
    """An executable and its major version. `home` is what JAVA_HOME should be."""

    executable: Path
    major: int

    @property
    def home(self) -> Path:
        return self.executable.resolve().parent.parent

    @property
    def warning(self) -> str | None:
        """Why this one may not do, or None."""
        if self.major in SUPPORTED_MAJORS:
            return None
        return f"Spark 4.0 supports Java 17 and 21; {self.executable} is {self.major}"


def find_java(
    environ: Mapping[str, str] | None = None, *, folders: Iterable[Path] = SYSTEM_FOLDERS
) -> Java:
    """The first supported Java of JAVA_HOME, PATH and the system's folders; failing that, the first
    one of at least version 17.

    Raises ServiceError when there is none, or only older ones.
    """
    found: list[Java] = []
    for executable in _candidates(os.environ if environ is None else environ, folders):
        major = java_major(executable)
        if major in SUPPORTED_MAJORS:
            return Java(executable, major)
        if major is not None:
            found.append(Java(executable, major))
    for java in found:
        if java.major >= MIN_MAJOR:
            return java
    if found:
        old = ", ".join(f"{java.executable} (Java {java.major})" for java in found)
        raise ServiceError(f"Java {MIN_MAJOR} or newer is needed; found {old}", hint=INSTALL_HINT)
    raise ServiceError(
        f"Java {MIN_MAJOR} or newer is needed, and none was found in JAVA_HOME or on PATH",
        hint=INSTALL_HINT,
    )


def java_major(executable: Path) -> int | None:
    """The major version, or None when it does not run."""
    try:
        done = subprocess.run(
            [executable, "-version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_major(done.stderr)


def parse_major(banner: str) -> int | None:
    """`openjdk version "17.0.15"` -> 17; Java 8 and older call themselves `1.8`."""
    match = re.search(r'version "(?:1\.)?(\d+)', banner)
    return int(match.group(1)) if match else None


def _candidates(environ: Mapping[str, str], folders: Iterable[Path]) -> list[Path]:
    paths = []
    if environ.get("JAVA_HOME"):
        paths.append(Path(environ["JAVA_HOME"]) / "bin" / "java")
    paths += [
        Path(folder) / "java" for folder in environ.get("PATH", "").split(os.pathsep) if folder
    ]
    for folder in folders:
        for pattern in ("*/bin/java", "*/Contents/Home/bin/java"):
            paths += sorted(folder.glob(pattern))
    unique: dict[Path, Path] = {}
    for path in paths:
        if path.is_file() and os.access(path, os.X_OK):
            unique.setdefault(path.resolve(), path)
    return list(unique.values())
