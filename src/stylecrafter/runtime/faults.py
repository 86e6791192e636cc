"""What pydantic finds wrong, in our words: every fault as a place and a clause, and all of them in one line."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from stylecrafter.errors import InvalidInputError

Place = tuple[str | int, ...]
#: Keys that tell the members of a union apart; pydantic puts their values among the keys of a place.
_TAGS = ("kind", "stage")

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 70
#: So many faults are told; a file that is no recipe at all has thousands.
_MOST_TOLD = 30
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping of keys",
    "model": "a mapping of keys",
    "dataclass": "a mapping of keys",
    "string": "text",
}


class Fault(NamedTuple):
    """One thing that is wrong: where, and what."""

    place: Place
    what: str

    def __str__(self) -> str:
        where = ".".join(str(step) for step in self.place)
        verb = self.what.startswith(("must ", "is ", "needs ", "does not "))
        return f"{where}{' ' if verb else ': '}{self.what}" if where else self.what


class FaultsError(InvalidInputError):
    """Several faults of one part, for a validator that has found more than one."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(joined(faults))
        self.faults = tuple(faults)


def joined(faults: Sequence[Fault]) -> str:
    """All faults in one line, numbered where there are several."""
    clauses = list(dict.fromkeys(str(fault).rstrip(".") for fault in faults))
    if len(clauses) == 1:
        return clauses[0]
    told = "; ".join(f"({number}) {clause}" for number, clause in enumerate(clauses[:_MOST_TOLD], start=1))
    left = len(clauses) - _MOST_TOLD
    return f"{len(clauses)} faults: {told}" + (f"; and {left} others" if left > 0 else "")


def faults_of(error: ValidationError, known: Iterable[str] = ()) -> list[Fault]:
    """What pydantic found, in our words.

    Args:
        error: Of a model or dataclass.
        known: Its keys, of which the nearest is proposed for an unknown one.
    """
    faults: list[Fault] = []
    for problem in error.errors(include_url=False):
        # Of a key that is no text pydantic says "[key]".
        place = tuple(step for step in problem["loc"] if step != "[key]")
        cause, value = problem.get("ctx", {}).get("error"), problem.get("input")
        if isinstance(cause, FaultsError):
            tags = [value.get(tag) for tag in _TAGS] if isinstance(value, dict) else []
            place = place[:-1] if place and place[-1] in tags else place
            faults += [Fault((*place, *fault.place), fault.what) for fault in cause.faults]
        else:
            faults.append(_fault(problem, place, known))
    return faults


def unknown_key(place: Place, known: Iterable[str]) -> Fault:
    """The fault of a key that nobody reads, with the nearest one that is read there."""
    names = sorted(known)
    close = difflib.get_close_matches(str(place[-1]), names, n=1)
    more = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(names)}." if names else ""
    return Fault(place[:-1], f"unknown key {str(place[-1])!r}.{more}")


def shown_value(value: object) -> str:
    """A value as an error shows it, cut where it is long."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"


def _fault(problem: Any, place: Place, known: Iterable[str]) -> Fault:
    kind, value = str(problem["type"]), problem.get("input")
    context = problem.get("ctx", {})
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return unknown_key(place, known)
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return Fault(place, "is missing")
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return Fault(place, f"must be {word} {_number(context[bound])}, got {shown_value(value)}")
    if kind == "finite_number":
        return Fault(place, f"must be a finite number, got {shown_value(value)}")
    if kind == "string_type":
        read = "" if isinstance(value, (dict, list)) else ", as YAML reads it without quotes"
        return Fault(place, f"must be text, got {shown_value(value)}{read}; put quotes around the text")
    if kind == "literal_error":
        return _unknown_choice(place, value, context["expected"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = str(context["discriminator"]).strip("'")
        if kind == "union_tag_not_found":
            return Fault((*place, key), "is missing")
        return _unknown_choice((*place, key), context["tag"], context["expected_tags"])
    if kind == "string_pattern_mismatch":
        wanted = "must not be empty" if context["pattern"] == r"\S" else f"must be like {context['pattern']}"
        return Fault(place, f"{wanted}, got {shown_value(value)}")
    if kind in ("too_short", "string_too_short"):
        return Fault(place, "must not be empty")
    if kind in ("too_long", "string_too_long"):
        return Fault(place, f"is too long: at most {context['max_length']}")
    of_kind = _KINDS.get(kind.partition("_")[0])
    if of_kind is not None and kind.endswith(("_type", "_parsing", "_parsing_size", "_from_float")):
        return Fault(place, f"must be {of_kind}, got {shown_value(value)}")
    return Fault(place, str(problem["msg"]).removeprefix("Value error, ").rstrip("."))


def _unknown_choice(place: Place, value: object, expected: object) -> Fault:
    names = [name.strip("' ") for name in str(expected).replace(" or ", ", ").split(",")]
    close = difflib.get_close_matches(str(value), names, n=1)
    nearest = f"did you mean {close[0]!r}? " if close else ""
    return Fault(place, f"{shown_value(value)} is not known; {nearest}Known: {', '.join(names)}")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
