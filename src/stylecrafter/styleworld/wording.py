"""What a picture of StyleWorld is called: content alone, or content and style.

Plain captions are few phrases in one order. Rich captions use synonyms and many sentence shapes, of the kinds that
people write and that published prompt lists hold: what somebody does and where, a place with something in it, a
statement, a list of tags, the camera at the end or at the head.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from stylecrafter.styleworld.cameras import CAMERA_NAMES
from stylecrafter.styleworld.lexicon import (
    ADJECTIVES,
    CAMERA_PHRASES,
    GROUP_MOTIONS,
    MOTION_PHRASES,
    NEW_STYLE_PHRASES,
    SCENE_NOUNS,
    SCENE_PHRASES,
    STYLE_MANNERS,
    STYLE_PHRASES,
    SYNONYMS,
)
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.objects import OBJECT_NAMES, OBJECTS
from stylecrafter.styleworld.palettes import COLOUR_NAMES, MUTED_NAMES, OBJECT_COLOURS, family_colours
from stylecrafter.styleworld.scenes import SCENE_NAMES
from stylecrafter.styleworld.splits import Vocabulary
from stylecrafter.styleworld.styles import STYLE_NAMES

_PLURAL = frozenset({"grapes", "cherries"})
_UNCOUNTED = frozenset({"corn", "bread", "cheese", "coffee", "ice cream"})
#: "A painting of" can stand before a noun phrase only: one of these first, and no statement after it.
_NOUN_PHRASE = re.compile(r"^(?:an?|the|some) (?!camera (?:pans|turns|tilts|looks|zooms))(?!.* (?:is|are) )")
#: Scenes that exist for every model so far trained with plain captions.
_FIRST_SCENES = 12
_FIRST_MOTIONS = 9


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is to be seen, as indices; `motion` and `camera` are None for a still picture, `colour` for an object that
    looks as it always does."""

    thing: int
    scene: int
    motion: int | None = None
    camera: int | None = None
    colour: int | None = None

    @property
    def hue(self) -> str:
        """The word for the object's own colour and a blank, or nothing."""
        return "" if self.colour is None else f"{OBJECT_COLOURS[self.colour]} "


def article(noun: str) -> str:
    """The noun with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def content_caption(content: Content, rng: random.Random, *, rich: bool = False) -> str:
    """A sentence on what is to be seen, in plain or in rich words."""
    if rich:
        sentence = _rich_sentence(content, rng)
        return _capital(sentence) + ("" if rng.random() < 0.5 else ".") if rng.random() < 0.4 else sentence
    sentence = _plain_sentence(content, rng)
    return _capital(sentence) + "." if rng.random() < 0.3 else sentence


def full_caption(
    content: Content, style: int, palette_family: int, rng: random.Random, *, rich: bool = False
) -> str:
    """The content caption with its style: the manner, and the colours by name."""
    sentence = content_caption(content, rng, rich=rich).rstrip(".")
    sentence = sentence[0].lower() + sentence[1:]
    name = STYLE_NAMES[style]
    colours = _colours(palette_family)
    phrases = STYLE_PHRASES | NEW_STYLE_PHRASES
    if not rich:
        phrase = rng.choice(phrases[name])
        return f"{phrase} {sentence}" if name == "plain" else f"{phrase} {sentence}, in {colours}"
    painted = name != "plain" and rng.random() < 0.7
    if rng.random() < 0.6 and _NOUN_PHRASE.match(sentence):
        caption = f"{rng.choice(phrases[name])} {sentence}"
        return f"{caption}, in {colours}" if painted else caption
    ending = f"{rng.choice(STYLE_MANNERS[name])}, {colours}" if painted else rng.choice(STYLE_MANNERS[name])
    return f"{sentence}, {ending}"


def style_words(style: int, palette_family: int) -> str:
    """The manner and the colours alone, as `full_caption` may end."""
    return f"{STYLE_MANNERS[STYLE_NAMES[style]][0]}, {_colours(palette_family)}"


def _colours(palette_family: int) -> str:
    first, second = family_colours(palette_family)
    return first if first == second else f"{first} and {second}"


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _plain_sentence(content: Content, rng: random.Random) -> str:
    move = rng.choice(MOTION_PHRASES[MOTION_NAMES[content.motion]]) if content.motion is not None else ""
    place = rng.choice(SCENE_PHRASES[SCENE_NAMES[content.scene]])
    words = [article(content.hue + OBJECT_NAMES[content.thing]), move, place]
    sentence = " ".join(word for word in words if word)
    if content.camera:
        return f"{sentence}, {CAMERA_PHRASES[CAMERA_NAMES[content.camera]][0]}"
    return sentence


def _noun(content: Content, rng: random.Random) -> str:
    """The object with or without an article, by one of its names."""
    thing = content.thing
    name = OBJECT_NAMES[thing]
    spoken = rng.choice(SYNONYMS[name]) if name in SYNONYMS and rng.random() < 0.4 else name
    if rng.random() < 0.15 and " of " not in spoken:
        spoken = f"{rng.choice(ADJECTIVES[OBJECTS[thing].group])} {spoken}"
    spoken = content.hue + spoken
    if name in _PLURAL and " of " not in spoken:
        return spoken if rng.random() < 0.5 else f"some {spoken}"
    if name in _UNCOUNTED and " of " not in spoken:
        return spoken if rng.random() < 0.5 else f"some {spoken}"
    return f"the {spoken}" if rng.random() < 0.12 else article(spoken)


def _motion(content: Content, rng: random.Random) -> str:
    if content.motion is None:
        return ""
    name = MOTION_NAMES[content.motion]
    group = OBJECTS[content.thing].group
    ways = (*MOTION_PHRASES[name], *GROUP_MOTIONS[""][name], *GROUP_MOTIONS.get(group, {}).get(name, ()))
    return rng.choice(ways)


def _rich_sentence(content: Content, rng: random.Random) -> str:
    noun, move = _noun(content, rng), _motion(content, rng)
    scene = SCENE_NAMES[content.scene]
    place, where = rng.choice(SCENE_PHRASES[scene]), rng.choice(SCENE_NOUNS[scene])
    verb = "are" if noun.split()[-1] in _PLURAL and " of " not in noun else "is"
    bare = re.sub(r"^(an?|the|some) ", "", noun)
    acting = f"{noun} {move}".rstrip()
    shapes = {
        "doing": (f"{acting} {place}", 6),
        "statement": (f"{noun} {verb} {f'{move} ' if move else ''}{place}", 2),
        "place first": (f"{place}, {acting}", 2),
        "with": (f"{where} with {acting}", 2),
        "and": (f"{where} and {acting}", 1),
        "there": (f"there {verb} {acting} {place}", 1),
        "tags": (", ".join(part for part in (bare, move, where) if part), 1),
    }
    kinds = list(shapes)
    sentence = shapes[rng.choices(kinds, [shapes[kind][1] for kind in kinds])[0]][0]
    return _with_camera(sentence, content.camera, rng)


def _with_camera(sentence: str, camera: int | None, rng: random.Random) -> str:
    if camera is None:
        return sentence
    name = CAMERA_NAMES[camera]
    if name == "fixed" and rng.random() < 0.8:
        return sentence
    phrase = rng.choice([way for way in CAMERA_PHRASES[name] if way])
    chance = rng.random()
    if phrase.startswith("the camera") and "ing " in sentence and chance < 0.3:
        return f"{sentence} while {phrase}"
    return f"{phrase}: {sentence}" if chance < 0.45 and phrase[:2] != "a " else f"{sentence}, {phrase}"


def vocabulary_words() -> tuple[str, ...]:
    """Every word of plain captions of the first world; the tokenizer of the first weights holds exactly these."""
    texts = [*OBJECT_NAMES, *COLOUR_NAMES, "a an and in"]
    scenes = [SCENE_PHRASES[name] for name in SCENE_NAMES[:_FIRST_SCENES]]
    motions = [MOTION_PHRASES[name] for name in MOTION_NAMES[:_FIRST_MOTIONS]]
    for variants in (*scenes, *motions, *STYLE_PHRASES.values()):
        texts += variants
    return tuple(sorted({word for text in texts for word in text.split()}))


def words_of(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Every word that captions of a vocabulary can use, for a tokenizer: never fewer than `vocabulary_words()`."""
    texts = [*vocabulary_words(), *MUTED_NAMES]
    plain = (
        *(SCENE_PHRASES[name] for name in vocabulary.scenes),
        *(MOTION_PHRASES[name] for name in vocabulary.motions),
        *(CAMERA_PHRASES[name] for name in vocabulary.cameras),
        *NEW_STYLE_PHRASES.values(),
    )
    rich = (
        *SYNONYMS.values(),
        *SCENE_NOUNS.values(),
        *(ways for group in GROUP_MOTIONS.values() for ways in group.values()),
        *STYLE_MANNERS.values(),
        *ADJECTIVES.values(),
        ("the some is are there with while",),
    )
    for variants in (*plain, *rich) if vocabulary.wording == "rich" else plain:
        texts += variants
    return tuple(sorted({word for text in texts for word in text.split()}))
