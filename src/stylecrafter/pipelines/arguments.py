"""Arguments of a pipeline's call that need no model to be read."""

from __future__ import annotations

import operator
from typing import Any, SupportsIndex

from stylecrafter.errors import InvalidInputError


def said(strength: Any) -> bool:
    """Whether there is a strength; an empty text is how knobs say that there is none."""
    return strength is not None and not (isinstance(strength, str) and not strength)


def same_argument(name: str, value: Any, alias: str, other: Any) -> Any:
    """The value of an argument that has two names.

    Raises:
        InvalidInputError: Both were given.
    """
    if value is not None and other is not None:
        raise InvalidInputError(f"{alias} is another name for {name}; give one of them")
    return other if value is None else value


def at_least_one(name: str, value: SupportsIndex) -> int:
    """`value` as an int; whatever counts as a whole number will do, NumPy's among them.

    Raises:
        InvalidInputError: It is none, or below 1.
    """
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise InvalidInputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return number
