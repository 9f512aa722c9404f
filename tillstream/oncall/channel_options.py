"""The part of a policy that describes channels: which options each type has."""

from urllib.parse import urlsplit

from tillstream.oncall.nodes import Node, Section
from tillstream.oncall.policy import ChannelSpec, ChannelType, SecretRef

_COMMON = ("type", "pages_per_minute", "timeout_seconds", "dead_after_seconds", "follow_up")
_PLAIN: dict[ChannelType, tuple[str, ...]] = {
    ChannelType.WEBHOOK: ("url",),
    ChannelType.SLACK: (),
    ChannelType.PAGERDUTY: ("url",),
    ChannelType.EMAIL: ("server", "security", "from", "to", "username"),
}
_SECRET: dict[ChannelType, tuple[str, ...]] = {
    ChannelType.WEBHOOK: ("url", "token", "signing_key"),
    ChannelType.SLACK: ("url",),
    ChannelType.PAGERDUTY: ("routing_key",),
    ChannelType.EMAIL: ("password",),
}
_REQUIRED: dict[ChannelType, tuple[str, ...]] = {
    ChannelType.WEBHOOK: ("url",),
    ChannelType.SLACK: ("url",),
    ChannelType.PAGERDUTY: ("routing_key",),
    ChannelType.EMAIL: ("server", "from"),
}
MAIL_SECURITY = ("starttls", "tls", "none")


def channel_spec(name: str, node: Node) -> ChannelSpec:
    """Raises PolicyError with the line of what is wrong."""
    if "type" not in node.entries():
        raise node.wrong("'type' is missing", hint=f"one of: {', '.join(ChannelType)}")
    kind = ChannelType(node.entries()["type"].choice([one.value for one in ChannelType]))
    plain, secret = _PLAIN[kind], _SECRET[kind]
    given = node.section(
        dict.fromkeys((*_COMMON, *plain, *secret)), required=("type", *_REQUIRED[kind])
    )
    options: dict[str, str] = {}
    secrets: dict[str, SecretRef] = {}
    for option in dict.fromkeys((*plain, *secret)):
        value = given.get(option)
        if value is None:
            continue
        if option in secret and (value.is_mapping or option not in plain):
            secrets[option] = secret_ref(value)
        else:
            options[option] = value.text()
    _check(kind, given, options)
    return ChannelSpec(
        name,
        kind,
        options,
        secrets,
        pages_per_minute=int(given.number("pages_per_minute", 60, least=1, most=100_000)),
        timeout_s=given.number("timeout_seconds", 10, least=0.1, most=120),
        dead_after_s=given.number("dead_after_seconds", 60, least=0, most=3_600),
        follow_up=_follow_up(kind, given),
    )


def secret_ref(node: Node) -> SecretRef:
    """`{env: NAME}` or `{file: PATH}`; a secret written into the policy is refused."""
    if not node.is_mapping:
        raise node.wrong(
            "a secret does not belong into this file",
            hint="write {env: NAME_OF_A_VARIABLE} or {file: PATH}",
        )
    given = node.section(("env", "file"))
    if len(given.values) != 1:
        raise node.wrong("expected one of env and file")
    [(source, value)] = given.values.items()
    return SecretRef(source, value.text(), node.line)


def check_url(value: str) -> str | None:
    """What is wrong with an address, None when it can be used."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as exc:
        return f"not an address: {exc}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "not an address: it must begin with http:// or https:// and name a host"
    return None


def _check(kind: ChannelType, given: Section, options: dict[str, str]) -> None:
    if "url" in options and (problem := check_url(options["url"])):
        raise given["url"].wrong(problem)
    if kind is not ChannelType.EMAIL:
        return
    host, _, port = options["server"].rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise given["server"].wrong("expected host:port, as in smtp.example.com:587")
    if "security" in options:
        given["security"].choice(MAIL_SECURITY)
    for option in ("from", "to"):
        if option in options and "@" not in options[option]:
            raise given[option].wrong(f"{options[option]!r} is not a mail address")
    if ("username" in given.values) != ("password" in given.values):
        raise given.node.wrong("username and password go together")
    if "username" in options and options.get("security") == "none":
        raise given["security"].wrong("a password would travel unencrypted")


def _follow_up(kind: ChannelType, given: Section) -> bool:
    node = given.get("follow_up")
    if node is None:
        return kind is not ChannelType.EMAIL  # a mailbox is no place for "never mind"
    return node.choice(("true", "false")) == "true"
