"""Secrets of the channels: from the environment or from files, never from the policy."""

from collections.abc import Mapping
from pathlib import Path

from tillstream.oncall.channel_options import check_url
from tillstream.oncall.nodes import PolicyError
from tillstream.oncall.policy import Policy, SecretRef

# By channel, then by option.
Secrets = Mapping[str, Mapping[str, str]]


def find_secrets(policy: Policy, environment: Mapping[str, str]) -> Secrets:
    """Every secret that the policy names. Raises PolicyError: which line asks for what is not
    there; a value is never told."""
    return {
        channel.name: {
            option: _find(policy, f"{channel.name}.{option}", ref, environment)
            for option, ref in channel.secrets.items()
        }
        for channel in policy.channels.values()
    }


def _find(policy: Policy, what: str, ref: SecretRef, environment: Mapping[str, str]) -> str:
    where = f"{policy.source}:{ref.line}: {what}"
    if ref.source == "env":
        value = environment.get(ref.name, "").strip()
        missing = "is not set"
    else:
        path = policy.folder / Path(ref.name).expanduser()
        try:
            value, missing = path.read_text(encoding="utf-8").strip(), "is empty"
        except (OSError, UnicodeDecodeError) as exc:
            value, missing = "", f"cannot be read ({getattr(exc, 'strerror', None) or 'not text'})"
    if not value:
        raise PolicyError(f"{where}: {ref} {missing}", hint=f"put the secret into the {ref}")
    if what.endswith(".url") and (problem := check_url(value)):
        raise PolicyError(f"{where}: what {ref} holds is {problem.partition(':')[0]}")
    return value
