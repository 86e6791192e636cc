"""What pydantic finds is told in one line: where, which value, and what would be right."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stylecrafter.errors import InvalidInputError
from stylecrafter.runtime.faults import Fault, FaultsError, faults_of, joined, shown_value, unknown_key


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)] = 9
    colour: Literal["black", "white"] = "black"

    @model_validator(mode="after")
    def _white_cats_have_one(self) -> Cat:
        if self.colour == "white" and self.lives != 1:
            raise FaultsError([Fault(("lives",), f"must be 1 of a white cat, got {self.lives}")])
        return self


class Dog(BaseModel):
    kind: Literal["dog"]


class House(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []
    name: str = "house"


def told(values: dict[str, object], kind: type[BaseModel] = House) -> str:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(values)
    return joined(faults_of(caught.value, kind.model_fields))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "cat", "lives": 0}, "lives must be at least 1, got 0"),
        ({"kind": "cat", "lives": "many"}, "lives must be a whole number, got 'many'"),
        ({"kind": "cat", "colour": "blak"}, "colour: 'blak' is not known; did you mean 'black'? Known: black, white"),
        ({"kind": "cat", "live": 3}, "unknown key 'live'. Did you mean 'lives'?"),
        ({"kind": "cat", "colour": "white"}, "lives must be 1 of a white cat, got 9"),
        ({}, "kind is missing"),
    ],
)  # fmt: skip
def test_a_fault_names_place_value_and_what_is_right(values: dict[str, object], said: str) -> None:
    assert told(values, Cat) == said


def test_members_of_unions_are_told_apart_without_a_word_of_it() -> None:
    assert told({"pets": [{"kind": "cat", "colour": "white"}]}) == (
        "pets.0.lives must be 1 of a white cat, got 9"
    )
    assert told({"pets": [{"kind": "bird"}]}) == "pets.0.kind: 'bird' is not known; Known: cat, dog"
    assert told({"pets": [{}]}) == "pets.0.kind is missing"


def test_several_faults_are_numbered() -> None:
    assert told({"pets": [{"kind": "bird"}], "name": 3}) == (
        "2 faults: (1) pets.0.kind: 'bird' is not known; Known: cat, dog; (2) name must be text, got 3, as YAML reads "
        "it without quotes; put quotes around the text"
    )


def test_what_is_long_is_cut() -> None:
    assert len(shown_value("x" * 1000)) < 80 and len(shown_value(10**5000)) < 80
    many = joined([Fault((str(number),), "is wrong") for number in range(100)])
    assert many.endswith("; and 70 others")


def test_faults_are_bad_input() -> None:
    with pytest.raises(InvalidInputError, match="a: unknown key 'b'. Known: c, d$"):
        raise FaultsError([unknown_key(("a", "b"), ["d", "c"])])
