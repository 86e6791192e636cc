"""Free words are understood, and somebody who asks for the unknown is told what is near."""

from __future__ import annotations

import pytest

from stylecrafter.styleworld import splits
from stylecrafter.styleworld.prompts import hint, names_any, nearest_names, plural, understand

WORLD = {"objects": list(splits.SMALL.objects), "scenes": list(splits.SMALL.scenes)}


@pytest.mark.parametrize(
    ("prompt", "objects", "scenes"),
    [
        ("A wolf walking stealthily through the forest.", ("wolf",), ("forest",)),
        ("A bear catching fish in a river.", ("bear", "fish"), ()),
        ("A field of sunflowers on a sunny day.", ("sunflower",), ("meadow",)),
        ("A rocketship heading towards the moon.", ("rocket",), ()),
        ("Two PUPPIES in the snow", ("dog",), ("snow",)),
        ("a pine tree in a pine forest", ("pine tree",), ("pine forest",)),
        ("mice, wolves and butterflies", ("mouse", "wolf", "butterfly"), ()),
        ("a category of catalogues", (), ()),
        ("", (), ()),
    ],
)
def test_objects_and_scenes(prompt: str, objects: tuple[str, ...], scenes: tuple[str, ...]) -> None:
    found = understand(prompt)
    assert (found.objects, found.scenes) == (objects, scenes)


def test_motions_and_cameras() -> None:
    found = understand("a camera falling down while the camera pans left")
    assert (found.objects, found.motions, found.cameras) == (("camera",), ("down",), ("pan left",))


def test_plurals() -> None:
    words = ("dog", "cherry", "fox", "bus", "mouse", "four leaf clover", "day")
    assert [plural(w) for w in words] == [
        "dogs",
        "cherries",
        "foxes",
        "buses",
        "mice",
        "four leaf clovers",
        "days",
    ]


def test_no_hint_where_the_prompt_names_an_object() -> None:
    for prompt in ("a dog in the desert", "three Dogs", "The dog, the cat."):
        assert hint(prompt, WORLD, "mini") is None
    assert hint("anything at all", {}, "mini") is None


def test_hints_name_the_nearest() -> None:
    assert "nearest: dog," in str(hint("a puppy in snow", WORLD, "mini"))
    assert "nearest: elephant" in str(hint("an elefant at night", WORLD, "mini"))
    wolf = str(hint("a wolf in the woods", WORLD, "mini"))
    assert "dog, cat, fox" in wolf and "none of the 24 objects" in wolf and "stylecrafter models mini" in wolf
    assert "for instance: dog" in str(hint("a chef in a kitchen", WORLD, "mini"))
    assert "\n" not in wolf


def test_synonyms_count_for_a_model_that_has_read_them() -> None:
    assert not names_any("a hound", ["dog"])
    assert names_any("a hound", ["dog"], {"hound"})
    assert hint("a hound", WORLD | {"words": ["hound", "dog"]}, "mini") is None


def test_names_that_are_not_of_this_world() -> None:
    other = {"objects": ["dragonfly", "zeppelin"]}
    assert hint("two zeppelins", other, "m") is None
    assert nearest_names("a zepelin", other["objects"]) == ["zeppelin"]
