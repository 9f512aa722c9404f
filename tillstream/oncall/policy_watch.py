"""The policy in force: read again when its file changes, kept when the new one is wrong."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tillstream.oncall.credentials import Secrets, find_secrets
from tillstream.oncall.nodes import PolicyError
from tillstream.oncall.policy import Policy
from tillstream.oncall.policy_file import parse_policy, read_policy

log = logging.getLogger("tillstream.oncall")


@dataclass(frozen=True, slots=True)
class InForce:
    policy: Policy
    secrets: Secrets


class PolicyWatch:
    """`keep` is where the last policy that was in force is remembered, so that the pager starts
    with it when somebody left a broken file behind. No secret is in it."""

    def __init__(self, path: Path, *, keep: Path, environment: Mapping[str, str]) -> None:
        """Raises PolicyError when the policy is wrong and none was in force before."""
        self.path = path
        self.problem = ""
        self._keep = keep
        self._environment = environment
        self._seen = _stamp(path)
        self.in_force = self._first()

    def look(self) -> bool:
        """Whether another policy is in force than before this call."""
        stamp = _stamp(self.path)
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            new = self._load()
        except PolicyError as exc:
            self._refuse(exc)
            return False
        changed = new != self.in_force
        self.in_force, self.problem = new, ""
        log.info("the policy %s is in force", self.path)
        return changed

    def _first(self) -> InForce:
        try:
            return self._load()
        except PolicyError as exc:
            try:
                text = self._keep.read_text(encoding="utf-8")
            except OSError:
                raise exc from None
            policy = parse_policy(text, source=str(self._keep), folder=self.path.parent)
            kept = InForce(policy, find_secrets(policy, self._environment))
            self._refuse(exc)
            return kept

    def _load(self) -> InForce:
        policy = read_policy(self.path)
        found = InForce(policy, find_secrets(policy, self._environment))
        _replace(self._keep, self.path.read_text(encoding="utf-8"))
        return found

    def _refuse(self, exc: PolicyError) -> None:
        self.problem = str(exc)
        hint = f" ({exc.hint})" if exc.hint else ""
        log.error("%s%s; the policy of before stays in force", exc, hint)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _replace(path: Path, text: str) -> None:
    """At once, so that a kill leaves the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
