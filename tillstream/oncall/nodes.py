"""A YAML file as a tree of nodes that know their line, and refuse what they are not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml

from tillstream.errors import ConfigError

_MOST_CHARS = 1_000_000


class PolicyError(ConfigError):
    """A policy that cannot be taken: which file, which line, what is wrong, what to write."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the file, and where it stands. `source` is the file's name."""

    source: str
    line: int
    raw: yaml.Node

    def wrong(self, what: str, *, hint: str | None = None) -> PolicyError:
        return PolicyError(f"{self.source}:{self.line}: {what}", hint=hint)

    @property
    def is_list(self) -> bool:
        return isinstance(self.raw, yaml.SequenceNode)

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.raw, yaml.MappingNode)

    def entries(self) -> dict[str, "Node"]:
        """A mapping with names of the author's choice."""
        if not isinstance(self.raw, yaml.MappingNode):
            raise self.wrong(f"expected names with values, found {_kind(self.raw)}")
        found: dict[str, Node] = {}
        for key, value in self.raw.value:
            name = self._child(key).text()
            if name in found:
                raise self._child(key).wrong(
                    f"{name!r} is here twice, first in line {found[name].line}"
                )
            # An empty value has no line of its own worth telling.
            found[name] = Node(self.source, key.start_mark.line + 1, value)
        return found

    def section(self, allowed: Iterable[str], *, required: Iterable[str] = ()) -> "Section":
        """A mapping with names that are given."""
        found, names = self.entries(), list(allowed)
        for name, node in found.items():
            if name not in names:
                raise node.wrong(f"unknown: {name!r}", hint=f"possible here: {', '.join(names)}")
        for name in required:
            if name not in found:
                raise self.wrong(f"{name!r} is missing")
        return Section(self, found)

    def items(self) -> list["Node"]:
        if not isinstance(self.raw, yaml.SequenceNode):
            raise self.wrong(f"expected a list, found {_kind(self.raw)}")
        return [self._child(one) for one in self.raw.value]

    def text(self) -> str:
        """Never empty."""
        if not isinstance(self.raw, yaml.ScalarNode):
            raise self.wrong(f"expected a text, found {_kind(self.raw)}")
        value = str(self.raw.value).strip()
        if not value or (self.raw.style is None and value in ("~", "null")):
            raise self.wrong("a value is missing")
        return value

    def texts(self) -> list["Node"]:
        """A list of texts, or one text."""
        nodes = self.items() if self.is_list else [self]
        for node in nodes:
            node.text()
        if not nodes:
            raise self.wrong("the list is empty")
        return nodes

    def number(self, *, least: float, most: float) -> float:
        try:
            value = float(self.text())
        except ValueError:
            raise self.wrong(f"{self.text()!r} is not a number") from None
        if not least <= value <= most:  # refuses nan too
            raise self.wrong(f"{self.text()} is not between {least:g} and {most:g}")
        return value

    def choice(self, allowed: Iterable[str]) -> str:
        names = list(allowed)
        if self.text() not in names:
            raise self.wrong(f"{self.text()!r} is not one of: {', '.join(names)}")
        return self.text()

    def _child(self, raw: yaml.Node) -> "Node":
        return Node(self.source, raw.start_mark.line + 1, raw)


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping whose names were checked."""

    node: Node
    values: Mapping[str, Node]

    def __getitem__(self, name: str) -> Node:
        return self.values[name]

    def get(self, name: str) -> Node | None:
        return self.values.get(name)

    def text(self, name: str, default: str) -> str:
        node = self.values.get(name)
        return default if node is None else node.text()

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        node = self.values.get(name)
        return default if node is None else node.number(least=least, most=most)


def load_nodes(text: str, *, source: str) -> Node:
    """The root of one YAML document. Raises PolicyError with the line of what is not YAML."""
    if len(text) > _MOST_CHARS:
        raise PolicyError(f"{source} is larger than {_MOST_CHARS:,} characters")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        said = " ".join(part for part in (exc.context, exc.problem) if part)
        raise PolicyError(f"{source}:{line}: not YAML: {said}") from exc
    except yaml.YAMLError as exc:  # a character that YAML does not allow
        line = text.count("\n", 0, getattr(exc, "position", 0)) + 1
        raise PolicyError(f"{source}:{line}: not YAML: {getattr(exc, 'reason', exc)}") from exc
    except RecursionError as exc:
        raise PolicyError(f"{source}:1: nested too deeply for a policy") from exc
    if root is None:
        raise PolicyError(f"{source}:1: the file is empty")
    return Node(source, root.start_mark.line + 1, root)


def _kind(raw: yaml.Node) -> str:
    if isinstance(raw, yaml.MappingNode):
        return "names with values"
    if isinstance(raw, yaml.SequenceNode):
        return "a list"
    return repr(raw.value) if raw.value else "nothing"
