"""Captions without their words of style: the rules, applied until nothing more is found."""

from __future__ import annotations

import re

from stylecrafter.data import caption_rules as rules
from stylecrafter.data.caption_patterns import Words
from stylecrafter.data.caption_text import QUOTES, Edit, Kind, parts, sentences

#: A removal can show another. No caption takes half as many rounds; a text that goes on is none, and stays as it is.
_MOST_ROUNDS = 16
_YEAR = re.compile(r"(?:1[3-9]|20)\d\d(?:[-–]\d{2,4}|s)?")
_AN_SOUND = re.compile(
    r"(?:[aeio]|u(?!ni|s[eu]|k|ti)|hour|hon(?:est|our|or)|heir)(?!ne?\b|uro)", re.IGNORECASE
)
_PARTICLES = frozenset(("van", "von", "de", "da", "di", "del", "and"))


def decoupled(caption: str) -> str:
    """The caption without its words of style, byte for byte as it was where it has none; cleaned twice it is as
    cleaned once, and the time is linear in its length."""
    text = caption
    for _ in range(_MOST_ROUNDS):
        before, text = text, _round(text)
        if text == before:
            return text
    return caption


def _round(text: str) -> str:
    edit = Edit(text)
    anything_left = False
    for sentence in sentences(edit.tokens):
        _clean_sentence(edit, sentence, names_gone=sentence.start > 0 and not anything_left)
        edit.drop_separators(sentence)
        left = next((i for i in sentence if not edit.gone[i]), None)
        if left not in (None, sentence.start) and anything_left and edit.raw(sentence.start)[0].isupper():
            word = edit.raw(left)
            edit.new[left] = word[0].upper() + word[1:]
        anything_left = anything_left or left is not None
    return edit.result()


def _clean_sentence(edit: Edit, sentence: range, names_gone: bool) -> None:
    """Its head, then part by part; a year goes along with other style."""
    words = _words(edit, sentence)
    at = max(rules.IT_SHOWS(words, 0), default=0) if names_gone else 0
    while ends := rules.HEAD(words, at):
        at = min(ends)
    edit.remove(sentence[:at])
    for i in range(at, len(words) - 1):
        for close_up in rules.CLOSE_UP(words, i):
            edit.remove(sentence[close_up : max(rules.MEDIUM_OF(words, close_up), default=close_up)])
    years: list[range] = []
    dropped = any_dropped = left = False
    for part in parts(edit.tokens, sentence[at:]):
        words = _words(edit, _unquoted(edit, part))
        follows = part.start > sentence.start + at
        if follows and _is_year(words):
            years.append(part)
        # "…, oil on canvas, soft edges": what only goes along with style is style behind it.
        elif _is_style(edit, part, words, follows) or (dropped and words.style_from_here[0]):
            edit.remove(part)
            dropped = any_dropped = True
        else:
            dropped = False
            _clean_part(edit, part, begins=not follows, behind_style=not left and any_dropped)
            left = True
    if any(edit.gone[i] for i in sentence):
        for year in years:
            edit.remove(year)


def _is_style(edit: Edit, part: range, words: Words, follows: bool) -> bool:
    """Whether a part is style from beginning to end."""
    places = range(len(words) - 1)
    if follows and _is_credit(edit, part, after_comma=True):
        return True
    if not rules.DRAWN_BY(words, 0) and not rules.tells_style(words, places):
        return False
    if words.style_from_here[0] and not rules.A_TOOL(words, 0):
        return not any(rules.AT_A_PLACE(words, i) for i in places)
    return rules.found_at(words, 0, rules.WHOLE_PARTS) is not None


def _clean_part(edit: Edit, part: range, begins: bool, behind_style: bool) -> None:
    """Remove style from within a part that is not all style."""
    words = _words(edit, part)
    # "depicting …" behind "a painting by Hopper,", which is gone
    i = max(rules.SAYS(words, 0), default=0) if behind_style else 0
    edit.remove(part[:i])
    while i < len(part):
        stop = _style_span(edit, part, words, i)
        if stop is None:
            _clean_attributes(edit, part, words, i, begins)
            i += 1
            continue
        # What is left over of "a cat is shown in cartoon style".
        is_last = stop == len(part) and i > 1 and words[i - 1] in ("is", "are", "was", "were")
        edit.remove(part[i - is_last : stop])
        i = stop


def _style_span(edit: Edit, part: range, words: Words, i: int) -> int | None:
    """Where style that begins at word `i` of a part ends; None where none begins."""
    if i > 0 and rules.OF_THE_THING(words, i - 1):
        return None
    stop = rules.found_at(words, i, rules.SPANS)
    if stop is not None and rules.tells_style(words, range(i, stop)):
        return stop
    by = i + bool(rules.DRAWN_BY(words, i))  # "a fox photographed by Anna Lund"
    something_done = by == i > 0 and words[i - 1].endswith("ed")  # "a fox followed by Anna Lund"
    if by > 0 and not something_done and _is_credit(edit, part[by:], after_comma=False):
        return len(part)
    return None


def _clean_attributes(edit: Edit, part: range, words: Words, i: int, begins: bool) -> None:
    """ "an anime girl" becomes "a girl"."""
    counted = bool(rules.COUNT(words, i)) or words[i] == "and"
    if not counted and not (begins and i == 0):
        return
    first = i + counted
    stop = max(
        (end for end in rules.ATTRIBUTES(words, first) if rules.SHOWN_THING(words, end)), default=first
    )
    edit.remove(part[first:stop])
    if stop > first and words[i] in ("a", "an"):
        article = "an" if _AN_SOUND.match(words[stop]) else "a"
        edit.new[part[i]] = article.capitalize() if edit.raw(part[i])[0].isupper() else article


def _is_credit(edit: Edit, places: range, after_comma: bool) -> bool:
    """Whether "by …" names who made the picture: a known painter, or a name in capitals that is no place."""
    if not 2 <= len(places) <= 6:
        return False
    words = _words(edit, places)
    names = [edit.raw(i) for i in places[1:]]
    if words[0] != "by" or "of" in names or not all(name[0].isalpha() for name in names):
        return False
    if any(rules.PLACES(words, i) for i in range(1, len(words))):
        return False
    if rules.ARTIST(words, 1) or rules.NOBODY(words, 1):
        return True
    if rules.NOT_A_NAME(words, 1) or len(names) < 2:
        return False
    if all(name[0].isupper() or name in _PARTICLES for name in names):
        return True
    return after_comma and len(names) <= 4 and all(rules.PLAIN(words, i) for i in range(1, len(words) - 1))


def _words(edit: Edit, places: range) -> Words:
    """What patterns read of these tokens."""
    signs = {Kind.COMMA: ",", Kind.OPEN: "", Kind.CLOSE: "", Kind.STOP: ""}
    return Words([signs.get(edit.tokens[i].kind, edit.tokens[i].norm) for i in places])


def _is_year(words: Words) -> bool:
    first = words[0] in ("c", "ca", "circa")
    return len(words) == 2 + first and _YEAR.fullmatch(words[first]) is not None


def _unquoted(edit: Edit, part: range) -> range:
    """A part without the quotes or dots at its ends."""
    inner = [i for i in part if edit.tokens[i].norm not in QUOTES and edit.tokens[i].norm != "."]
    return range(inner[0], inner[-1] + 1) if inner else part[:0]
