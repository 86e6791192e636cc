"""YAML into plain data, after a look at its nodes: some lines stand for more than any machine could hold or reckon."""

from __future__ import annotations

from typing import Any

import yaml

_MAX_NUMBER = 4300
"""Characters of a whole number, as Python has it; those of base sixty ("1:30") take the square of that in time."""


class TooManyValuesError(Exception):
    """A document that would have more values than were allowed."""


Loader = type[yaml.SafeLoader] | type[yaml.BaseLoader]


def load(text: str, most: int, loader: Loader = yaml.SafeLoader) -> Any:
    """The one document in `text`; None for none.

    Raises:
        TooManyValuesError: A mapping would have over `most` pairs, by what "<<" merges into it.
        yaml.YAMLError, ValueError and others: As the loader has it.
    """
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        _count_pairs(node, most, {})
        return reader.construct_document(node)
    finally:
        reader.dispose()


def _count_pairs(node: yaml.Node, most: int, known: dict[int, int]) -> int:
    """Pairs that a mapping has in the end, and a list of mappings has in all; 0 of anything else.

    `known` has what was counted before, by `id`. What holds itself counts as nothing there; it is refused later.
    """
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = 0
    pairs = 0
    if isinstance(node, yaml.ScalarNode):
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > _MAX_NUMBER:
            raise ValueError(f"a number of {len(node.value):,} characters")
    elif isinstance(node, yaml.SequenceNode):
        pairs = sum([_count_pairs(part, most, known) for part in node.value])
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _count_pairs(key, most, known)
            inner = _count_pairs(value, most, known)
            pairs += inner if key.tag == "tag:yaml.org,2002:merge" else 1
        if pairs > most:
            raise TooManyValuesError
    known[id(node)] = pairs
    return pairs
