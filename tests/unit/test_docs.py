"""What the documents show must exist: commands with their options, links, settings."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from tillstream.cli.main import app
from tillstream.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("docs/*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING"))]
)
MAKE_TARGETS = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_VARIABLE = re.compile(r"\bTILLSTREAM_[A-Z_]*[A-Z]\b")
# Settings of the tests, not of the application.
_FOR_TESTS = {"TILLSTREAM_MINIO"}


def commands_in(text: str) -> Iterator[str]:
    """Every `tillstream …` or `make …` in code of a document, cut at what a shell would end."""
    prose = _FENCE.sub("", text)
    lines = [line for _, block in _FENCE.findall(text) for line in block.splitlines()]
    lines += _INDENTED.findall(prose)
    lines += [" ".join(code.split()) for code in _INLINE.findall(prose)]
    for line in lines:
        for part in re.split(r"&&|\|\||;(?=\s)|\s\|\s|\s#.*$", line):
            words = re.sub(r"^\$\s+|^(?:[A-Z_]+=\S*\s+)+", "", part.strip())
            if words.startswith(("tillstream ", "make ")):
                yield words


def problem(command: str) -> str | None:
    """What is wrong with a command as shown, None when it would be understood."""
    try:
        words = shlex.split(command)
    except ValueError as exc:
        return str(exc)
    if words[0] == "make":
        unknown = [word for word in words[1:] if word not in MAKE_TARGETS]
        return f"no such target: {unknown}" if unknown else None
    # Any: typer brings a click of its own, under a private name.
    current: Any = typer.main.get_command(app)
    arguments = words[1:]
    while True:
        known = {name: one for one in current.params for name in (*one.opts, *one.secondary_opts)}
        commands: dict[str, Any] = getattr(current, "commands", {})
        rest = _without_options(arguments, known, is_group=bool(commands))
        if isinstance(rest, str):
            return rest
        if not commands:
            return _positional(current, rest)
        if not rest:
            return None
        found = commands.get(rest[0])
        if found is None:
            return f"no such command: {rest[0]}"
        current, arguments = found, rest[1:]


def _without_options(
    arguments: list[str], known: dict[str, Any], *, is_group: bool
) -> list[str] | str:
    """What is left once options and their values are taken, from a group's command on all."""
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if not word.startswith("-"):
            rest.append(word)
            if is_group:
                return [*rest, *queue]
            continue
        name, equals, _ = word.partition("=")
        if name == "--help":
            continue
        if name not in known:
            return f"no such option: {name}"
        if not equals and not getattr(known[name], "is_flag", False):
            if not queue:
                return f"{name} needs a value"
            queue.pop(0)
    return rest


def _positional(command: Any, rest: list[str]) -> str | None:
    takes = [one.nargs for one in command.params if one.param_type_name == "argument"]
    most = len(rest) if -1 in takes else sum(takes)
    return f"unexpected: {rest[most:]}" if len(rest) > most else None


def setting_names(model: type[BaseModel] = Settings, prefix: str = "TILLSTREAM_") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner: Any = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_names(inner, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper()


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+\s+(.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_shown_exists_with_its_options(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    wrong = {one: why for one in commands_in(text) if (why := problem(one)) is not None}
    assert wrong == {}


def test_the_documents_do_show_commands() -> None:
    shown = [one for path in DOCUMENTS for one in commands_in(path.read_text(encoding="utf-8"))]
    assert {"make demo", "make test", "tillstream up", "tillstream down"} <= set(shown)
    assert len(shown) > 50


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("make lunch", "no such target: ['lunch']"),
        ("tillstream serve", "no such command: serve"),
        ("tillstream replay --fast", "no such option: --fast"),
        ("tillstream up now", "unexpected: ['now']"),
        ("tillstream verify --wait", "--wait needs a value"),
        ("tillstream --home /data replay --days 2 --speed=max", None),
        ("tillstream logs stream -n 50", None),
    ],
)
def test_a_wrong_command_is_noticed(command: str, why: str | None) -> None:
    assert problem(command) == why


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_named_is_real(document: Path) -> None:
    named = set(_VARIABLE.findall(document.read_text(encoding="utf-8")))
    assert named - set(setting_names()) - _FOR_TESTS == set()


def test_the_table_of_settings_is_complete() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(TILLSTREAM_\w+)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(setting_names())


def test_the_table_of_settings_gives_the_defaults() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^\| `(TILLSTREAM_\w+)` \| `?([^|`]+?)`? \|", text, re.MULTILINE))
    for section in ("stream", "risk"):
        for name, value in Settings.model_fields[section].default.model_dump(mode="json").items():
            variable = f"TILLSTREAM_{section.upper()}__{name.upper()}"
            if isinstance(value, str):
                assert shown[variable] == value
            else:
                assert json.loads(shown[variable]) == value, variable


def test_topics_are_described_as_they_are_made() -> None:
    from tillstream.contracts.topics import TOPIC_SPECS

    text = (ROOT / "docs/events.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(retail-[\w-]+)` \| `\w+` \| (\d+) \|", text, re.MULTILINE)
    expected = {topic.value: spec.partitions for topic, spec in TOPIC_SPECS.items()}
    assert {topic: int(count) for topic, count in rows} == expected
