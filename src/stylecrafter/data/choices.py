"""Settings that are one of a few names."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from stylecrafter.errors import unknown_name

_E = TypeVar("_E", bound=StrEnum)


def choose(what: str, names: type[_E], value: str) -> _E:
    """The member of that name.

    Args:
        what: What the name stands for, in the singular.
        names: The enumeration.
        value: A member, or its name.

    Raises:
        UnknownNameError: There is none.
    """
    known = [member.value for member in names]
    if value not in known:
        raise unknown_name(what, str(value), known)
    return names(value)
