"""Who may do what in Kafka: rules in a file, applied to a broker that enforces them."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import SecurityDisabledError

from producers.connection import client_options, require_reachable, told_as_service_error
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import KafkaSettings

_IN_FORCE_S = 30.0
_POLL_S = 0.1
_OPERATIONS = ("read", "write", "create", "describe", "describe_configs")


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """One user may do one thing to one topic, or to every topic of a prefix (`retail-*`)."""

    user: str
    operation: str
    topic: str

    def __str__(self) -> str:
        return f"{self.user} may {self.operation} {self.topic}"


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules in a file like deploy/kafka/acls.yaml. Raises ConfigError saying what is wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as exc:
        raise ConfigError(f"access rules in {path} cannot be read: {exc}") from exc
    try:
        rules = tuple(
            Rule(user, operation, topic)
            for user, operations in content.items()
            for operation, topics in operations.items()
            for topic in topics
        )
    except (AttributeError, TypeError) as exc:
        raise ConfigError(f"{path} is not of the form user: {{operation: [topic, …]}}") from exc
    for rule in rules:
        if rule.operation not in _OPERATIONS:
            raise ConfigError(
                f"{path}: {rule.user}: no operation is called {rule.operation!r}",
                hint=f"use one of {', '.join(_OPERATIONS)}",
            )
    return rules


def apply_rules(kafka: KafkaSettings, rules: Iterable[Rule]) -> list[str]:
    """Add the rules that are missing, and say so. Nothing is removed: a user's further rules are
    told, for somebody to look at. Safe to repeat. Needs an administrator; raises ServiceError.

    The rules are in force at the broker that answers here when this returns; others follow it.
    """
    wanted = set(rules)
    doing = "change access rules"
    require_reachable(kafka, doing)
    with told_as_service_error(kafka, doing):
        admin = KafkaAdminClient(client_id="tillstream-access", **client_options(kafka))
        try:
            held = _held(admin)
            missing = sorted(wanted - held)
            if missing:
                admin.create_acls([_acl(rule) for rule in missing])
                _wait_until_held(kafka, admin, missing)
        except SecurityDisabledError as exc:
            raise ServiceError(
                f"Kafka at {kafka.bootstrap}: it enforces no access rules",
                hint="set authorizer.class.name on the brokers, see docs/security.md",
            ) from exc
        finally:
            admin.close()
    users = {rule.user for rule in wanted}
    more = sorted(rule for rule in held - wanted if rule.user in users)
    return [
        *(f"added: {rule}" for rule in missing),
        *(f"{rule}, which the file does not say; left as it is" for rule in more),
    ]


def _wait_until_held(kafka: KafkaSettings, admin: KafkaAdminClient, rules: list[Rule]) -> None:
    """The controller has written them; the broker hears of it a moment later."""
    deadline = time.monotonic() + _IN_FORCE_S
    while not _held(admin).issuperset(rules):
        if time.monotonic() > deadline:
            raise ServiceError(
                f"Kafka at {kafka.bootstrap}: new access rules are not in force after "
                f"{_IN_FORCE_S:.0f} s",
                hint="look at the brokers' logs, then run this again",
            )
        time.sleep(_POLL_S)


def _held(admin: KafkaAdminClient) -> set[Rule]:
    everything = ACLFilter(
        principal=None,
        host=None,
        operation=ACLOperation.ANY,
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=ResourcePatternFilter(
            ResourceType.TOPIC, None, ACLResourcePatternType.ANY
        ),
    )
    acls, _ = admin.describe_acls(everything)
    return {
        Rule(
            acl.principal.removeprefix("User:"),
            acl.operation.name.lower(),
            acl.resource_pattern.resource_name
            + ("*" if acl.resource_pattern.pattern_type is ACLResourcePatternType.PREFIXED else ""),
        )
        for acl in acls
    }


def _acl(rule: Rule) -> ACL:
    prefixed = rule.topic.endswith("*")
    kind = ACLResourcePatternType.PREFIXED if prefixed else ACLResourcePatternType.LITERAL
    return ACL(
        principal=f"User:{rule.user}",
        host="*",
        operation=ACLOperation[rule.operation.upper()],
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=ResourcePattern(ResourceType.TOPIC, rule.topic.removesuffix("*"), kind),
    )
