"""Free words are understood, and somebody who asks for the unknown is told what is near."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from stylecrafter.styleworld import splits
from stylecrafter.styleworld.lexicon import NEAREST, RELATIVES
from stylecrafter.styleworld.objects import OBJECT_NAMES, OBJECTS, object_index
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
    assert "fox, dog, cat" in wolf and "none of the 24 objects" in wolf and "stylecrafter models mini" in wolf
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


@pytest.mark.parametrize(
    ("prompt", "full", "medium", "small"),
    [
        ("a tiger in the jungle", "tiger, lion, cat", "lion, cat, bear", "cat, bear, dog"),
        ("three zebras", "horse, unicorn, deer", "horse, cow, pig", "horse, elephant, bear"),
        ("a fire truck at night", "truck, tractor, ambulance", "bus, car, train", "bus, car, train"),
        ("a submarine in the sea", "ship, sailboat, car", "sailboat, car, bus", "sailboat, car, bus"),
        ("a peach", "apple, cherries, strawberry", "apple, strawberry, banana", "apple, cake"),
        ("an orchid", "rose, bouquet, sunflower", "sunflower, tree, cactus", "sunflower, tree, cactus"),
        ("a mosque in the city", "castle, tower, house", "castle, house, tent", "house"),
        ("a piano", "guitar, drum, trumpet", "guitar", "guitar"),
        ("a house by the lake", "house, castle, tent", "house, castle, tent", "house"),
        ("a chef in a kitchen", "", "", ""),
    ],
)
def test_what_is_alike_comes_first(prompt: str, full: str, medium: str, small: str) -> None:
    for vocabulary, wanted in ((splits.FULL, full), (splits.MEDIUM, medium), (splits.SMALL, small)):
        assert ", ".join(nearest_names(prompt, vocabulary.objects)) == wanted


def test_every_everyday_word_leads_to_objects() -> None:
    groups = json.loads((resources.files("stylecrafter.styleworld") / "lexicon.json").read_text("utf-8"))[
        "nearest"
    ]
    words = [word for group in groups for word in group.split(", ")]
    assert len(words) >= 150 and sorted(words) == sorted(NEAREST)
    for word, targets in NEAREST.items():
        assert set(targets) <= set(OBJECT_NAMES), word
        known = [name for name in targets if name in splits.FULL.objects]
        found = nearest_names(f"two {plural(word)}", splits.FULL.objects)
        assert found[: len(known)] == known[:3] and known, word
    assert {OBJECTS[object_index(name)].group for targets in NEAREST.values() for name in targets} == {
        thing.group for thing in OBJECTS
    }


def test_relatives_are_objects_and_no_object_is_its_own() -> None:
    for name, alike in RELATIVES.items():
        assert {name, *alike} <= set(OBJECT_NAMES) and name not in alike, name


def test_a_word_that_is_understood_is_not_taken_for_misspelled() -> None:
    assert nearest_names("a house", ["horse", "castle"]) == ["castle"]
    assert nearest_names("a hourse", ["horse", "castle"]) == ["horse"]
    assert nearest_names("a leopard, the camera pans left", splits.FULL.objects) == ["tiger", "lion", "cat"]
