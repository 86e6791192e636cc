"""Everything that StyleCrafter raises on purpose.

    StyleCrafterError
    ├── InvalidInputError (also a ValueError)      what the caller gave cannot be used
    │   ├── UnknownNameError                       a model, scheduler, format … that does not exist
    │   ├── ImageReadError                         a picture or clip that cannot be read
    │   ├── CheckpointError                        weights that are missing or do not fit
    │   └── OutputError                            a result that cannot be written
    ├── DivergedError (also a FloatingPointError)      a training run whose loss is no number any more
    └── MissingDependencyError (also an ImportError)   an extra that is not installed

The command line turns `InvalidInputError` into one line and exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

_E = TypeVar("_E", bound=StrEnum)


class StyleCrafterError(Exception):
    """Base of all errors raised on purpose."""


class InvalidInputError(StyleCrafterError, ValueError):
    """The caller's input cannot be used; the message shows the value and what would be right."""


class UnknownNameError(InvalidInputError):
    """A name that is not known; the message lists the known ones."""


class ImageReadError(InvalidInputError):
    """A picture or clip that is missing, corrupt, or too large to be read."""


class CheckpointError(InvalidInputError):
    """Weights that are missing, incomplete, or do not fit the model."""


class OutputError(InvalidInputError):
    """A result that cannot be written where it was asked for."""


class DivergedError(StyleCrafterError, FloatingPointError):
    """A loss that is no number any more; the message says what to change before going on."""


class MissingDependencyError(StyleCrafterError, ImportError):
    """An optional dependency that is not installed; the message names the extra to install."""


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> UnknownNameError:
    """Build the error for an unknown `name` of some `kind`, with the nearest known name first.

    Args:
        kind: What the name stands for, in the singular ("scheduler").
        name: The name that was given.
        known: All names that would have been right.
        hint: One more sentence, usually the next command to run.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    nearest = f" Did you mean {close[0]!r}?" if close else ""
    listing = ", ".join(names) if names else "none"
    advice = f" {hint}" if hint else ""
    return UnknownNameError(f"unknown {kind} {name!r}.{nearest} Known: {listing}.{advice}")


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
