"""Fields that are known by several names: to a pipeline's call, on the command line, in a model's folder.

Whatever is wrong with their values is said in one line, with the value and what would be right.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Self, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from stylecrafter.errors import InvalidInputError, StyleCrafterError, unknown_name
from stylecrafter.media.documents import shown

_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
_MARK = "knob"
_Call = TypeVar("_Call", bound=Callable[..., Any])


@dataclass(frozen=True)
class Knob:
    """What a field is called elsewhere.

    Attributes:
        help: What it does, in one line.
        flag: On the command line; empty: it is not there.
        argument: Of a pipeline's call; empty: the call does not take it.
        panel: Part of the command line's help that lists the flag; empty: the first.
        of_model: Whether models come with a value of their own, `default_` and the field's name in their index.
        without: What held before there was this knob, for models and files that are older than it.
        unless: Another knob that says the same in other words: where it is given, this one is left open.
    """

    help: str
    flag: str = ""
    argument: str = ""
    panel: str = "Sampling"
    of_model: bool = False
    without: Any = None
    unless: str = ""


def knob(
    help: str,
    flag: str = "",
    argument: str = "",
    *,
    default: Any = None,
    panel: str = "Sampling",
    of_model: bool = False,
    without: Any = None,
    unless: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
) -> Any:
    """A field that is a knob, with its limits; see `Knob` and pydantic's `Field`."""
    found = Knob(help, flag, argument, panel, of_model, without, unless)
    return Field(default, ge=ge, gt=gt, le=le, json_schema_extra={_MARK: cast(Any, found)})


class SettingsError(InvalidInputError):
    """Settings that cannot be.

    Attributes:
        problems: The name of each, and what is wrong with it; the name is empty where the text says all.
    """

    def __init__(
        self, problems: Sequence[tuple[str, str]], called: Callable[[str], str] = lambda name: name
    ) -> None:
        self.problems = tuple(problems)
        said = [f"{called(name)} {text}" if name else text.rstrip(".") for name, text in self.problems]
        super().__init__(f"{'; '.join(said)}.")


class KnobModel(BaseModel):
    """Values that are what they say (True is no number, "3" is no 3), some of them knobs.

    Raises:
        SettingsError: A value that cannot be; the message shows it and what would be right.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _refusal(error, type(self)) from error

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """Numbers of NumPy and torch as those of Python."""
        return value.item() if getattr(value, "shape", None) == () else value

    @classmethod
    def knobs(cls) -> dict[str, Knob]:
        """The knobs among the fields, by their names."""
        extras = {name: field.json_schema_extra for name, field in cls.model_fields.items()}
        return {
            name: cast(Knob, e[_MARK]) for name, e in extras.items() if isinstance(e, dict) and _MARK in e
        }

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any], known: Collection[str] = ()) -> Self:
        """From arguments of a pipeline's call; None is not given.

        Args:
            arguments: By the names that the call has for them.
            known: All arguments of the call, for what is said of one that it does not have; empty: the knobs alone.

        Raises:
            UnknownNameError: One that the call does not have.
            SettingsError: A value that cannot be.
        """
        fields = {knob.argument: name for name, knob in cls.knobs().items() if knob.argument}
        for argument in arguments:
            if argument not in fields:
                raise unknown_name("argument", argument, known or fields)
        try:
            return cls(**{fields[k]: value for k, value in arguments.items() if value is not None})
        except SettingsError as error:
            arguments_of = {name: argument for argument, name in fields.items()}
            raise SettingsError(error.problems, lambda name: arguments_of.get(name, name)) from None

    def arguments(self, without: Sequence[str] = ()) -> dict[str, Any]:
        """What a pipeline's call takes, by the names of its arguments; `without` names fields to leave out."""
        return {
            knob.argument: getattr(self, name)
            for name, knob in self.knobs().items()
            if knob.argument and name not in without
        }

    def values(self) -> dict[str, Any]:
        """Every knob by its name."""
        return {name: getattr(self, name) for name in self.knobs()}

    def changed(self, **changes: Any) -> Self:
        """The same with other values.

        Raises:
            SettingsError: A value that cannot be.
        """
        return type(self)(**{**dict(self), **changes})

    def filled(self, defaults: Mapping[str, Any]) -> Self:
        """The same with the model's own value for every None; only models without such a value leave one, and what
        another knob has said (`Knob.unless`).

        Args:
            defaults: By the names they have in `model_index.json`.

        Raises:
            InvalidInputError: One is missing, or cannot be.
        """
        own = {}
        for name, knob in self.knobs().items():
            said = knob.unless and getattr(self, knob.unless)
            if knob.of_model and not said and getattr(self, name) is None:
                own[name] = defaults.get(f"default_{name}", knob.without)
                if own[name] is None:
                    raise InvalidInputError(f"default_{name} is missing.")
        return self.changed(**own)


def takes_knobs(model: type[KnobModel]) -> Callable[[_Call], _Call]:
    """Show in the signature and the help of a pipeline's call which arguments its `**knobs` stand for."""

    def show(call: _Call) -> _Call:
        signature = inspect.signature(call)
        # What a call names itself takes more than a knob's plain values.
        fields = {
            knob.argument: name
            for name, knob in model.knobs().items()
            if knob.argument and knob.argument not in signature.parameters
        }
        annotations = {argument: model.model_fields[name].annotation for argument, name in fields.items()}
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        knobs = [
            inspect.Parameter(
                argument,
                inspect.Parameter.KEYWORD_ONLY,
                default=model.model_fields[name].default,
                annotation=annotations[argument],
            )
            for argument, name in fields.items()
        ]
        call.__signature__ = signature.replace(parameters=[*own, *knobs])  # type: ignore[attr-defined]
        call.__annotations__ = {**call.__annotations__, **annotations}
        lines = [f"    {argument}: {model.knobs()[name].help}" for argument, name in fields.items()]
        call.__doc__ = "\n".join([inspect.getdoc(call) or "", "", "Knobs:", *lines])
        return call

    return show


def _refusal(error: ValidationError, model: type[KnobModel]) -> InvalidInputError:
    """What pydantic found, in our words."""
    problems: list[tuple[str, str]] = []
    for problem in error.errors():
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, InvalidInputError) and error.error_count() == 1:
            return cause
        problems.append(_problem(dict(problem), cause, model))
    return SettingsError(problems, lambda name: name.replace("_", " "))


def _problem(problem: dict[str, Any], cause: object, model: type[KnobModel]) -> tuple[str, str]:
    name = ".".join(map(str, problem["loc"]))
    if isinstance(cause, StyleCrafterError):
        return "", str(cause)
    if problem["type"] == "extra_forbidden":
        return "", str(unknown_name("setting", shown(name), model.model_fields))
    if problem["type"] == "missing":
        return name, "is missing"
    wanted = _wanted(model.model_fields[name]) if name in model.model_fields else ""
    if wanted:
        return name, f"must be {wanted}, not {brief(problem['input'])}"
    return name, f"cannot be {brief(problem['input'])}: {problem['msg']}"


def _wanted(field: FieldInfo) -> str:
    """What a value may be, such as "a whole number between 1 and 999"; empty where a field is no plain value."""
    limits = {
        name: getattr(m, name) for m in field.metadata for name in ("gt", "ge", "le") if hasattr(m, name)
    }
    several = isinstance(field.annotation, UnionType)
    kinds = get_args(field.annotation) if several else (field.annotation,)
    words = next((word for kind, word in _KINDS.items() if kind in kinds), "")
    if "gt" in limits:
        return f"{words} above {limits['gt']} and at most {limits['le']}"
    return f"{words} between {limits['ge']} and {limits['le']}" if "ge" in limits else words


def brief(value: Any) -> str:
    """A value as a message can show it."""
    huge = isinstance(value, int) and abs(value) >= 10**30  # Python refuses to write thousands of digits
    return "a number of very many digits" if huge else shown(repr(value))
