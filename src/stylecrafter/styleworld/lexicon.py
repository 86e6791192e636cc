"""The words of StyleWorld: names of its objects, and phrases for its scenes, motions, cameras and styles.

They are data: the tables of `lexicon.json`, each from a name to its words. The first entries of scenes, motions and
styles are what plain captions say; models trained with them know these words alone, so they must not change.
"""

from __future__ import annotations

import json
from importlib import resources

Words = dict[str, tuple[str, ...]]
_TABLES = json.loads((resources.files("stylecrafter.styleworld") / "lexicon.json").read_text("utf-8"))


def _table(words: dict[str, list[str]]) -> Words:
    return {name: tuple(said) for name, said in words.items()}


#: True of every drawing of the object.
SYNONYMS = _table(_TABLES["synonyms"])
#: What somebody may say for an object, and captions never do.
RELATED = _table(_TABLES["related"])
#: Objects that are alike, the closest first.
RELATIVES = _table(_TABLES["relatives"])
#: Everyday words for what StyleWorld does not draw (a leopard is no tiger), and its objects that come nearest, the
#: closest first. Words that are as often something else ("orange", "fly") are left out.
NEAREST: Words = {
    word: objects for words, objects in _table(_TABLES["nearest"]).items() for word in words.split(", ")
}
SCENE_PHRASES = _table(_TABLES["scene_phrases"])
#: The place by itself, to stand at the head of a sentence.
SCENE_NOUNS = _table(_TABLES["scene_nouns"])
#: Words of place by which a scene is known beyond its phrases.
SCENE_WORDS = _table(_TABLES["scene_words"])
MOTION_PHRASES = _table(_TABLES["motion_phrases"])
#: More to say of motions, by the group of the object; "" serves every group.
GROUP_MOTIONS: dict[str, Words] = {group: _table(ways) for group, ways in _TABLES["group_motions"].items()}
#: Words by which a motion is known beyond its phrases.
MOTION_WORDS = _table(_TABLES["motion_words"])
CAMERA_PHRASES = _table(_TABLES["camera_phrases"])
STYLE_PHRASES = _table(_TABLES["style_phrases"])
#: Kinds that the first weights do not know.
NEW_STYLE_PHRASES = _table(_TABLES["new_style_phrases"])
#: The manner by itself, for the end of a sentence.
STYLE_MANNERS = _table(_TABLES["style_manners"])
ADJECTIVES = _table(_TABLES["adjectives"])
