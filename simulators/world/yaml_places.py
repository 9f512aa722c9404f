"""Where in a YAML text a value stands, and what a model would have allowed there."""

import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Found:
    """The line (from 1) of a value, or of what should hold it, None without either; and its path
    as the text has it."""

    line: int | None
    field: str


def find(text: str, path: Sequence[str | int]) -> Found:
    """Where the value at `path` stands. Parts that the text does not have are left out, as the
    names that a validator gives to the members of a union are, but for the last."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = None
    names = []
    for number, part in enumerate(path):
        found = _child(node, part)
        if found is not None:
            key, node = found
            line = key.start_mark.line + 1
        if found is not None or number == len(path) - 1:
            names.append(str(part))
    return Found(line, ".".join(names))


def impossible_date(text: str) -> Found | None:
    """The first value that looks like a time and is none."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        return _impossible(loader, node, []) if node is not None else None
    finally:
        loader.dispose()


def _impossible(loader: yaml.SafeLoader, node: yaml.Node, path: list[str]) -> Found | None:
    if isinstance(node, yaml.MappingNode):
        children = [(value, [*path, key.value]) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(value, [*path, str(at)]) for at, value in enumerate(node.value)]
    else:
        try:
            loader.construct_object(node)
        except ValueError:
            return Found(node.start_mark.line + 1, ".".join(path))
        return None
    return next((f for c, at in children if (f := _impossible(loader, c, at))), None)


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def allowed_keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The fields that the object at `path` may have."""
    models = [model]
    for part in path:
        if isinstance(part, int):
            continue
        models = [
            inner
            for each in models
            if part in each.model_fields
            for inner in _models(each.model_fields[part].annotation)
        ] or models
    return sorted({name for each in models for name in each.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return [found for inner in get_args(annotation) for found in _models(inner)]
    return []
