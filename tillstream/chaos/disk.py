"""A disk of one's own that can be made full: a tmpfs whose limit is moved to what it holds."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tillstream.errors import ServiceError

_ROOMY = "8g"


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted tmpfs. It takes memory as it fills, and no more."""

    folder: Path

    @classmethod
    def mount(cls, folder: Path) -> "Disk":
        """Mount over an empty folder. Raises ServiceError where that is not allowed."""
        folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={_ROOMY},mode=0700", "tmpfs", str(folder))
        return cls(folder)

    def fill(self) -> None:
        """From now on there is no room for another page."""
        stat = os.statvfs(self.folder)
        used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
        # A server may write between our look and our move: a limit below what is used is refused.
        for spare in (0, 1 << 20, 16 << 20, 128 << 20):
            try:
                return self._limit(str(used + spare + stat.f_frsize))
            except ServiceError:
                continue
        return self._limit(str(used + (512 << 20)))

    def relieve(self) -> None:
        self._limit(_ROOMY)

    def unmount(self, *, keep: bool = False) -> None:
        """Take the disk away, with all that is on it unless `keep`. Raises ServiceError."""
        kept = self.folder.with_name(f".{self.folder.name}.kept")
        if keep:
            shutil.copytree(self.folder, kept, symlinks=True)
        # Lazily: a process that is still dying may hold a file.
        _run("umount", "-l", str(self.folder))
        if keep:
            self.folder.rmdir()
            kept.rename(self.folder)

    def _limit(self, size: str) -> None:
        _run("mount", "-o", f"remount,size={size}", str(self.folder))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise ServiceError(f"cannot run {command[0]}: {exc}") from exc
    if done.returncode != 0:
        raise ServiceError(f"{' '.join(command)}: {done.stderr.strip()}")
