"""What may stand at a key of a recipe, as its typed models say it, and how a typed text is read there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import yaml

from stylecrafter.adapter.adapter_options import AdapterOptions
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import expand_home, parse_yaml
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.settings import Settings

#: A type as an annotation says it.
Kind = Any


class RecipeLoader(yaml.SafeLoader):
    """YAML in which no key comes twice, and what it alone takes for a number (12:30 for 750, 0300 for 192) is text."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} comes twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return node

    def _plain_number(self, node: Any) -> Any:
        digits = str(node.value).lstrip("+-")
        octal = node.tag.endswith(":int") and len(digits) > 1 and digits[0] == "0" and digits[1] not in "bx"
        if ":" in digits or octal:
            return node.value
        return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)


for _tag in ("int", "float"):
    RecipeLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", RecipeLoader._plain_number)


def kinds_at(steps: Sequence[str | int], raw: Any) -> list[Kind]:
    """The types that a value may have at a place of a recipe; none where nothing is known at that place.

    Args:
        steps: Keys and positions from the top.
        raw: The recipe as it is so far: it says of which kind a source and a stage are.
    """
    kinds: list[Kind] = [Recipe]
    for step in steps:
        kinds = [inner for kind in kinds for inner in _inside(kind, step)]
        raw = _entry(raw, step)
        kinds = [single for kind in kinds for single in _narrowed(kind, raw)]
    return kinds


def single_kinds(kind: Kind) -> list[Kind]:
    """The plain types that a type stands for."""
    return _narrowed(kind, None)


def keys_at(steps: Sequence[str | int], raw: Any) -> list[str]:
    """The keys that are known in the mapping at a place."""
    return sorted({key for kind in kinds_at(steps, raw) for key in _fields(kind)})


def read_value(text: str, kinds: Iterable[Kind], name: str) -> Any:
    """What a typed text means where a value of these types stands: text as it is, everything else as YAML.

    A list of texts may be given as a YAML list, every entry of which is taken as it is written, or as one text.

    Raises:
        InvalidInputError: It is not YAML; `name` is what errors call it.
    """
    kinds = list(kinds)
    plain = [kind for kind in kinds if kind is not NoneType]
    if plain and all(_is_text(kind) for kind in plain):
        return None if text in ("", "null") and NoneType in kinds else text
    if plain and all(_holds_texts(kind) for kind in plain):
        listed = text.strip()
        if all(get_origin(kind) is dict for kind in plain):
            return parse_yaml(text, name, loader=yaml.BaseLoader)
        if not (listed.startswith("[") and listed.endswith("]")):
            return [text]
        values = parse_yaml(listed, name, loader=yaml.BaseLoader)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise InvalidInputError(f'{name} must be a list of texts, such as ["a: b", c]')
        return values
    return parse_yaml(text, name, loader=RecipeLoader)


def from_here(place: Sequence[str], value: Any) -> Any:
    """A value with its paths made absolute: who types a path means it from where they are, not from the recipe."""
    if isinstance(value, dict):
        return {key: from_here((*place, str(key)), inner) for key, inner in value.items()}
    is_path = len(place) == 3 and place[0] == "data" and place[2] == "path"
    if not is_path and tuple(place[:2]) != ("samples", "styles"):
        return value
    if isinstance(value, list):
        return [from_here(place, inner) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    try:
        return os.path.abspath(expand_home(value))
    except OSError as error:
        raise InvalidInputError(f"{'.'.join(place)}: {value!r} starts in a folder that is gone") from error


def _inside(kind: Kind, step: str | int) -> list[Kind]:
    """The types one step further in."""
    fields = _fields(kind)
    if str(step) in fields:
        return [fields[str(step)]]
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return [arguments[1]]
    if get_origin(kind) in (list, tuple):
        return [argument for argument in arguments if argument is not Ellipsis]
    return [Any] if kind is Any else []


def _fields(kind: Kind) -> dict[str, Kind]:
    """Name -> type of what a mapping of that type holds; nothing for other types."""
    if is_typeddict(kind):
        return get_type_hints(kind)
    if not (isinstance(kind, type) and issubclass(kind, Settings)):
        return {}
    fields = {name: kind.model_fields[name].annotation for name in kind.known_keys()}
    return {**fields, "adapter": AdapterOptions} if kind is Recipe else fields


def _narrowed(kind: Kind, raw: Any) -> list[Kind]:
    """The plain types that a type stands for; of a union of models the one that `raw` says it is, where it does."""
    if get_origin(kind) is Annotated:
        return _narrowed(get_args(kind)[0], raw)
    if get_origin(kind) not in (Union, UnionType):
        return [kind]
    kinds = [single for member in get_args(kind) for single in _narrowed(member, raw)]
    said = {(key, str(raw.get(key))) for key in ("kind", "stage")} if isinstance(raw, dict) else set()
    return [k for k in kinds if any(name in get_args(_fields(k).get(key)) for key, name in said)] or kinds


def _entry(raw: Any, step: str | int) -> Any:
    """What stands there so far, None where nothing does."""
    if isinstance(raw, dict):
        return raw.get(step)
    if isinstance(raw, list):
        number = place_in(raw, step)
        return None if number is None else raw[number]
    return None


def place_in(entries: list[Any], step: str | int) -> int | None:
    """Which entry of a list is meant: by its position, or a stage by its name."""
    names = names_in(entries)
    if step in names:
        return names.index(str(step))
    number = int(step) if str(step).isdecimal() and len(str(step)) < 10 else -1
    return number if 0 <= number < len(entries) else None


def names_in(entries: list[Any]) -> list[str]:
    """What the entries of a list are called; empty for those without a name."""
    return [
        str(entry.get("name") or entry.get("stage") or "") if isinstance(entry, dict) else ""
        for entry in entries
    ]


def _is_text(kind: Kind) -> bool:
    if get_origin(kind) is Annotated:
        return _is_text(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return all(isinstance(value, str) for value in get_args(kind))
    return isinstance(kind, type) and (
        kind in (str, Path) or (issubclass(kind, str) and issubclass(kind, Enum))
    )


def _holds_texts(kind: Kind) -> bool:
    """Whether it is a list of texts, or a mapping with such."""
    inner = [argument for argument in get_args(kind) if argument is not Ellipsis]
    if get_origin(kind) not in (list, tuple, dict) or not inner:
        return False
    last = inner[-1]
    while get_origin(last) is Annotated:
        last = get_args(last)[0]
    return _is_text(last) or (get_origin(kind) is dict and _holds_texts(last))
