"""Which object, scene, motion and camera of the world a prompt names, and what to say instead where it names none.

The inverse of `wording`, for anybody's words: synonyms, related words and plurals count, case and punctuation do
not. The longest match wins, so a "pine tree" is no "tree".
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stylecrafter.styleworld.lexicon import (
    CAMERA_PHRASES,
    GROUP_MOTIONS,
    MOTION_PHRASES,
    MOTION_WORDS,
    NEAREST,
    RELATED,
    RELATIVES,
    SCENE_NOUNS,
    SCENE_PHRASES,
    SCENE_WORDS,
    SYNONYMS,
)

_IRREGULAR = {
    "mouse": "mice",
    "goose": "geese",
    "wolf": "wolves",
    "calf": "calves",
    "man": "men",
    "ox": "oxen",
}
_HEADS = re.compile(r"^(?:(?:in|on|at|under|among|by|inside|into|front|of|the|an?|wide|large|empty) )+")


@dataclass(frozen=True, kw_only=True)
class Understood:
    """What a prompt names of the world, each in the order of the prompt."""

    objects: tuple[str, ...]
    scenes: tuple[str, ...]
    motions: tuple[str, ...]
    cameras: tuple[str, ...]


def plural(noun: str) -> str:
    """The plural of a noun or of a noun phrase with its noun last."""
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        many = _IRREGULAR[last]
    elif re.search(r"[^aeiou]y$", last):
        many = f"{last[:-1]}ies"
    else:
        many = f"{last}es" if re.search(r"(?:s|x|z|ch|sh)$", last) else f"{last}s"
    return f"{head} {many}".strip()


def understand(prompt: str) -> Understood:
    """Find what a free prompt names of StyleWorld."""
    cameras, motions, text = _movements(prompt)
    both, _ = _find(text, _things_and_places())
    return Understood(
        objects=tuple(name[2:] for name in both if name.startswith("o:")),
        scenes=tuple(name[2:] for name in both if name.startswith("s:")),
        motions=motions,
        cameras=cameras,
    )


def _movements(prompt: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Cameras and motions of a prompt, and its cleaned text without them."""
    cameras, text = _find(_clean(prompt), _camera_words())
    motions, text = _find(text, _motion_words())
    return cameras, motions, text


def names_any(prompt: str, names: Collection[str], words: Collection[str] = ()) -> bool:
    """Whether a prompt holds one of `names`, singular or plural, or a synonym that is made of `words` alone."""
    spoken = [*names, *(s for n in names for s in SYNONYMS.get(n, ()) if set(s.split()) <= set(words))]
    table = {form: form for name in spoken for form in (name.lower(), plural(name.lower()))}
    return bool(table) and bool(_find(_clean(prompt), _words(table))[0])


def nearest_names(prompt: str, names: Sequence[str], count: int = 3) -> list[str]:
    """The names nearest to what a prompt says, best first: by meaning, by likeness, by spelling, then of the same kind.

    Args:
        prompt: Free words.
        names: What a model knows.
        count: At most so many.
    """
    from stylecrafter.styleworld.objects import OBJECT_NAMES, OBJECTS, object_index

    said, rest = _find(_movements(prompt)[2], _things_and_their_like())
    closest = [name for word in said for name in _closest(word)]
    found = [name for name in _with_relatives(closest) if name in names]
    # A house is spelled nearly like a horse: only words that say nothing else are taken for misspelled.
    for word in dict.fromkeys(rest.split()):
        if len(word) > 3:
            found += difflib.get_close_matches(word, names, n=1, cutoff=0.75)
    # "thing" is everything else: a guitar is not near a backpack.
    groups = {OBJECTS[object_index(name)].group for name in closest} - {"thing"}
    found += [name for name in names if name in OBJECT_NAMES and OBJECTS[object_index(name)].group in groups]
    return list(dict.fromkeys(found))[:count]


def hint(prompt: str, world: Mapping[str, Sequence[str]], model: str) -> str | None:
    """One line for a prompt that names no object a model knows; None where there is nothing to say.

    Args:
        prompt: The prompt as given.
        world: Lists of names by kind, as a model's `world.json` holds them: "objects", and where captions were rich
            "words" with all that the model has read.
        model: How the model is called, for the command that lists its words.
    """
    objects = world.get("objects", ())
    if not objects or names_any(prompt, objects, world.get("words", ())):
        return None
    near = nearest_names(prompt, objects)
    some = ", ".join(near if near else objects[:6])
    what = "nearest" if near else "for instance"
    rest = f" Its scenes and motions too: stylecrafter models {model}."
    return f"the prompt names none of the {len(objects)} objects that {model} knows; {what}: {some}.{rest}"


def _clean(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


class _Words(NamedTuple):
    """Words and what each stands for, with a pattern that finds the longest first."""

    meaning: Mapping[str, str]
    pattern: re.Pattern[str]


def _words(meaning: Mapping[str, str]) -> _Words:
    keys = sorted(meaning, key=lambda key: (-len(key.split()), -len(key)))
    return _Words(meaning, re.compile(r"\b(?:" + "|".join(map(re.escape, keys)) + r")\b"))


def _find(text: str, words: _Words) -> tuple[tuple[str, ...], str]:
    """Meanings of the words found in a cleaned text, in its order; and the text without them."""
    found = tuple(dict.fromkeys(words.meaning[match.group()] for match in words.pattern.finditer(text)))
    return found, " ".join(words.pattern.sub(" ", text).split())


@functools.cache
def _things_and_places() -> _Words:
    """Objects as "o:name" and scenes as "s:name": where the two overlap, the longer one counts."""
    scenes = {word: f"s:{name}" for word, name in _scene_words().items()}
    return _words(scenes | {word: f"o:{name}" for word, name in _object_words().items()})


@functools.cache
def _things_and_their_like() -> _Words:
    """Besides objects and scenes, as "n:word", the words for what is near to an object without being one."""
    near = {form: f"n:{word}" for word in NEAREST for form in (word, plural(word))}
    return _words(near | dict(_things_and_places().meaning))


def _closest(word: str) -> tuple[str, ...]:
    """The objects for one meaning: what "o:name" names, what is next to "n:word", none for a scene."""
    kind, _, name = word.partition(":")
    return (name,) if kind == "o" else NEAREST.get(name, ()) if kind == "n" else ()


def _with_relatives(objects: Sequence[str]) -> list[str]:
    """Objects, then those that are like them, then those that are like these, each once."""
    found = list(dict.fromkeys(objects))
    for name in found:  # grows while it is walked through
        found += [near for near in RELATIVES.get(name, ()) if near not in found]
    return found


def _object_words() -> dict[str, str]:
    from stylecrafter.styleworld.objects import OBJECT_NAMES

    table: dict[str, str] = {}
    for name in OBJECT_NAMES:
        for spoken in (*RELATED.get(name, ()), *SYNONYMS.get(name, ())):
            table |= {spoken: name, plural(spoken): name}
    # Names come last: "rose" is a rose, whatever else it may be related to.
    for name in OBJECT_NAMES:
        table |= {name: name, plural(name): name}
    return table


def _scene_words() -> dict[str, str]:
    table: dict[str, str] = {}
    for name, words in SCENE_WORDS.items():
        table |= {form: name for word in words for form in (word, plural(word))}
    for phrases in (SCENE_PHRASES, SCENE_NOUNS):
        for name, variants in phrases.items():
            table |= {form: name for text in variants for form in (text, _HEADS.sub("", text))}
    return table | {name: name for name in SCENE_PHRASES}


@functools.cache
def _motion_words() -> _Words:
    table = {word: name for name, words in MOTION_WORDS.items() for word in words}
    for group in (MOTION_PHRASES, *GROUP_MOTIONS.values()):
        table |= {text: name for name, variants in group.items() for text in variants if text}
    return _words(table)


@functools.cache
def _camera_words() -> _Words:
    table = {name: name for name in CAMERA_PHRASES if name != "fixed"}
    table |= {text: name for name, variants in CAMERA_PHRASES.items() for text in variants if text}
    return _words(table)
