"""Captions say what is to be seen, in many shapes, with words that a tokenizer can be built from."""

from __future__ import annotations

import random
import re

import pytest
import torch

from stylecrafter.styleworld import prompts, splits, world
from stylecrafter.styleworld.cameras import CAMERA_NAMES
from stylecrafter.styleworld.lexicon import RELATED, SYNONYMS
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.objects import OBJECT_NAMES
from stylecrafter.styleworld.scenes import SCENE_NAMES
from stylecrafter.styleworld.wording import vocabulary_words, words_of

STYLE_WORDS = {
    "watercolor",
    "halftone",
    "poster",
    "sketch",
    "neon",
    "painting",
    "engraving",
    "chalk",
    "collage",
}


def drawn(n: int, vocabulary: splits.Vocabulary = splits.FULL) -> world.WorldBatch:
    return world.sample(n, torch.Generator().manual_seed(1), vocabulary=vocabulary)


def test_plain_captions_name_the_content_and_never_the_style() -> None:
    batch = drawn(64, splits.SMALL)
    captions = batch.content_captions(random.Random(0), True)
    full = batch.full_captions(random.Random(0), False)
    for thing, content, both in zip(batch.thing.tolist(), captions, full, strict=True):
        assert OBJECT_NAMES[thing] in content.lower() and OBJECT_NAMES[thing] in both
        assert not STYLE_WORDS & set(content.lower().split())
    assert len(set(full)) > 40


def test_rich_captions_are_understood_as_what_they_were_made_from() -> None:
    batch = drawn(1500)
    for i, caption in enumerate(batch.content_captions(random.Random(0), True)):
        found = prompts.understand(caption)
        assert found.objects == (OBJECT_NAMES[batch.thing[i]],), caption
        assert found.scenes == (SCENE_NAMES[batch.scene[i]],), caption
        assert (found.motions or ("still",)) == (MOTION_NAMES[batch.motion[i]],), caption
        assert (found.cameras or ("fixed",)) == (CAMERA_NAMES[batch.camera[i]],), caption


def test_captions_of_stills_speak_of_no_movement() -> None:
    for caption in drawn(400).content_captions(random.Random(2), False):
        found = prompts.understand(caption)
        assert not found.motions and not found.cameras, caption


def test_rich_captions_have_many_shapes_and_no_style() -> None:
    captions = drawn(600).content_captions(random.Random(0), True)
    assert len(set(captions)) > 590
    shapes = (r"^(an?|the) [\w ]+ is ", r"^there (is|are) ", r" with ", r"^(in|on|at|under|among) ", r"the camera",
              r"^(an?|the) [\w ]+ing ", r", .*, ")  # fmt: skip
    for shape in shapes:
        assert sum(bool(re.search(shape, text.lower())) for text in captions) >= 12, shape
    assert not any(STYLE_WORDS & set(re.findall(r"\w+", text.lower())) for text in captions)


def test_the_style_stands_before_noun_phrases_only() -> None:
    checked = 0
    for caption in drawn(800).full_captions(random.Random(3), True):
        painted = re.match(r"an? [\w ]*?(?:poster|painting|print|woodcut|mosaic|drawing) of (.*)", caption)
        if painted:
            checked += 1
            assert re.match(r"(an?|the|some) ", painted[1]), caption
            assert not re.search(r" (is|are) |^the camera (pans|turns)", painted[1]), caption
    assert checked > 100


@pytest.mark.parametrize("name", list(splits.VOCABULARIES))
def test_words_hold_every_word_of_every_caption(name: str) -> None:
    vocabulary = splits.VOCABULARIES[name]
    known, batch, rng = set(words_of(vocabulary)), drawn(800, vocabulary), random.Random(5)
    captions = [*batch.content_captions(rng, True), *batch.full_captions(rng, True)]
    assert not {word for text in captions for word in re.findall(r"[a-z]+", text.lower())} - known
    assert max(len(re.findall(r"\w+|[,.:]", text)) for text in captions) <= 36
    assert set(vocabulary_words()) <= known


def test_synonyms_belong_to_one_object_and_are_no_other_objects_name() -> None:
    owners: dict[str, str] = {}
    for table in (SYNONYMS, RELATED):
        for name, words in table.items():
            assert name in OBJECT_NAMES
            for word in words:
                assert owners.setdefault(word, name) == name, word
                assert word not in OBJECT_NAMES, word


def test_held_out_objects_lend_no_word_to_the_medium_world() -> None:
    captions = drawn(1500, splits.MEDIUM).content_captions(random.Random(0), True)
    shown = {name for text in captions for name in prompts.understand(text).objects}
    assert shown and not shown & set(splits.HELD_OUT_OBJECTS)
