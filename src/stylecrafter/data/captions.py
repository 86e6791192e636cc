"""Decoupling: captions that say what a picture shows, and leave how it is made to the style reference.

The paper regenerates captions and removes style descriptions by regular expressions ("a painting of"), so that the
text cannot explain the style and the adapter has to. `CaptionCleaning.PUBLISHED` removes the three patterns of the
published code and nothing else. `CaptionCleaning.DECOUPLE` also knows captions as people and models write them ("…, oil
on canvas", "in the style of …", "an anime girl") and leaves alone what only looks like style ("a man painting a
fence"). It reads sentence by sentence and part by part; content may go on behind a painter or a style ("a dog in the
style of Picasso running on the beach").

What counts as style: the medium and technique of the whole picture, painters, movements and periods, colour treatment,
lens and light as marks of the making, renderers, sites and praise ("trending on artstation", "8k"). What does not:
framing ("a close-up of", "an aerial view of": where the camera stands is content), and pictures that are things in the
scene ("a painting above the bed").
"""

from __future__ import annotations

import logging
import re
from enum import StrEnum
from functools import cache

from stylecrafter.data.decoupling import decoupled
from stylecrafter.errors import choose

logger = logging.getLogger(__name__)


class CaptionCleaning(StrEnum):
    """What is removed from captions."""

    KEEP = "keep"
    """Nothing."""
    PUBLISHED = "published"
    """The three patterns of the published code."""
    DECOUPLE = "decouple"
    """All words of style."""


def clean_caption(caption: str, cleaning: CaptionCleaning = CaptionCleaning.DECOUPLE) -> str:
    """The caption without its words of style; empty where nothing else was said.

    Byte for byte as it was where there is nothing to remove. Nothing is added, but that "an anime girl" becomes "a
    girl". The time is linear in the length.
    """
    if cleaning is CaptionCleaning.KEEP:
        return caption
    return _published(caption) if cleaning is CaptionCleaning.PUBLISHED else decoupled(caption)


#: What the cleanings were called before in `data check` and `FileSource`. Checkpoints still record these names.
NAMES_BEFORE = {"keep": "none", "published": "published", "decouple": "full"}
#: And in recipes, where "full" stood for the full caption, not for a full cleaning.
RECIPE_NAMES_BEFORE = {"keep": "full", "decouple": "content"}


def find_cleaning(name: CaptionCleaning | str) -> CaptionCleaning:
    """The cleaning of that name, or of the name it had in `data check` and `FileSource` before.

    Raises:
        UnknownNameError: There is none.
    """
    return choose("cleaning of captions", CaptionCleaning, _today(name, NAMES_BEFORE))


def read_recipe_captions(value: object) -> object:
    """What a recipe says of captions, by today's name; what is no name is left to the recipe's own check."""
    return _today(value, RECIPE_NAMES_BEFORE) if isinstance(value, str) else value


def _today(name: str, names_before: dict[str, str]) -> str:
    for now, before in names_before.items():
        if name == before != now:
            _say_once(before, now)
            return now
    return name


@cache
def _say_once(before: str, now: str) -> None:
    logger.warning("captions: %r is called %r now; the old name is read as that.", before, now)


_KINDS = "painting|drawing|mural|artwork|view|portrait|photo|photograph|watercolor|illustration|picture|digital art"
_BEGINS = re.compile(rf"^((a )?(\w+\s+)*(?:{_KINDS}) of )+", re.IGNORECASE)
_NAMES_KIND = re.compile(r"^(?:painting|photograph|digital art|black and white photograph) - ", re.IGNORECASE)
#: The published "in (a )?(\w+\s+)*(?:KINDS)\s?" in three steps, since it reads on to the end at every "in".
_RUN_OF_WORDS = re.compile(r"[\w\s]+")
_IN = re.compile(r"in (?=\w)", re.IGNORECASE)
_KIND_OF_PICTURE = re.compile(rf"(?<=\s)(?:{_KINDS})\s?", re.IGNORECASE)


def _published(caption: str) -> str:
    """The three patterns of the published training code, in their order. They were made for BLIP-2's lower case; here
    capitals match as well. White space is made single where they remove something."""
    text = _BEGINS.sub("", caption)
    text = _RUN_OF_WORDS.sub(lambda run: _without_in_a_picture(run.group()), text)
    text = _NAMES_KIND.sub("", text)
    return caption if text == caption else " ".join(text.split())


def _without_in_a_picture(run: str) -> str:
    """A run of words without what stands from its first "in" to its last kind of picture."""
    begins = _IN.search(run)
    if begins is None:
        return run
    kinds = list(_KIND_OF_PICTURE.finditer(run, begins.end()))
    return run[: begins.start()] + run[kinds[-1].end() :] if kinds else run
