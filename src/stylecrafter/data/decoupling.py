"""Captions without their words of style: the rules, applied until nothing more is found."""

from __future__ import annotations

import re

from stylecrafter.data import caption_rules as rules
from stylecrafter.data.caption_patterns import Words
from stylecrafter.data.caption_text import QUOTES, SEPARATORS, Edit, parts, sentences

#: A removal can show another. Captions take three rounds; a text that goes on is none, and stays as it is.
_MOST_ROUNDS = 8
_QUOTED = re.compile(r'(\s*["“])([^"“”]+)(["”]\s*)')
_AN_SOUND = re.compile(r"[aeio]|u(?!ni|s[eu]|k|ti)|hour|hon(?:est|our|or)|heir")
_NO_AN_SOUND = re.compile(r"one\b|euro")
_PARTICLES = frozenset(("van", "von", "de", "da", "di", "del", "and"))


def decoupled(caption: str) -> str:
    """The caption without its words of style, byte for byte as it was where it has none; cleaned twice it is as
    cleaned once, and the time is linear in its length."""
    quoted = _QUOTED.fullmatch(caption)
    if quoted is not None:  # as a whole, as language models answer
        before, inner, behind = quoted.groups()
        text = decoupled(inner)
        return f"{before}{text}{behind}" if text else ""
    text = caption
    for _ in range(_MOST_ROUNDS):
        before, text = text, _cleaned_once(text)
        if text == before:
            return text
    return caption


def _cleaned_once(text: str) -> str:
    edit = Edit(text)
    if not rules.may_tell_style(token.norm for token in edit.tokens):
        return text
    anything_left = False
    for sentence in sentences(edit.tokens):
        _clean_sentence(edit, sentence, names_gone=sentence.start > 0 and not anything_left)
        edit.drop_separators(sentence)
        left = next((i for i in sentence if not edit.gone[i]), None)
        if left is None:
            continue
        if anything_left and left > sentence.start and edit.raw(sentence.start)[0].isupper():
            edit.new[left] = edit.raw(left)[0].upper() + edit.raw(left)[1:]
        anything_left = True
    return edit.result()


def _words(edit: Edit, places: range) -> Words:
    return Words(edit.tokens[i].norm for i in places)


def _clean_sentence(edit: Edit, sentence: range, names_gone: bool) -> None:
    """Its head, then part by part.

    Args:
        names_gone: All sentences before it go: what "it shows" is the content.
    """
    words = _words(edit, sentence)
    at = max(rules.IT_SHOWS(words, 0), default=0) if names_gone else 0
    while ends := rules.HEAD(words, at):
        at = min(ends)
    edit.remove(sentence[:at])
    for i in range(at, len(sentence)):
        for close_up in rules.CLOSE_UP(words, i):
            edit.remove(sentence[close_up : max(rules.MEDIUM_OF(words, close_up), default=close_up)])
    years: list[range] = []
    before = any_dropped = left = False
    for number, part in enumerate(parts(edit.tokens, sentence[at:])):
        words = _words(edit, _unquoted(edit, part))
        if number and rules.DATE(words, 0):
            years.append(part)
            continue
        # "…, oil on canvas, soft edges": what only goes along with style is style behind it.
        before = _is_style(edit, part, words, number) or (before and words.style_from_here[0])
        qualifier = _qualifier(edit, part)
        if before and qualifier is not None:
            if not rules.OF_A_MEDIUM(qualifier, 0):  # a thing: the tag "photo (object)"
                before, left = False, True
                continue
            edit.remove(range(part.stop + 1, part.stop + 2))
        if before:
            edit.remove(part)
        else:
            _clean_part(edit, part, begins=not number, shows=any_dropped and not left)
        any_dropped, left = any_dropped or before, left or not before
    # A year goes along with the style that it dates.
    if any(edit.gone[i] for i in sentence):
        for year in years:
            edit.remove(year)


def _qualifier(edit: Edit, part: range) -> Words | None:
    """The one word in brackets right behind a part, as tags have it: "watercolor (medium)"."""
    words = _words(edit, range(part.stop, min(part.stop + 3, len(edit.tokens))))
    single = words[0] == "(" and words[2:3] == [")"] and words[1] not in SEPARATORS
    return Words(words[1:2]) if single else None


def _unquoted(edit: Edit, part: range) -> range:
    """A part without the quotes or dots at its ends."""
    inner = [i for i in part if edit.tokens[i].norm not in QUOTES + "…"]
    return range(inner[0], inner[-1] + 1) if inner else part[:0]


def _is_style(edit: Edit, part: range, words: Words, number: int) -> bool:
    """Whether a part is style from beginning to end."""
    if number > 0 and _is_credit(edit, part):
        return True
    places = range(len(words) - 1)
    if not rules.DRAWN_BY(words, 0) and not rules.tells_style(words, places):
        return False
    if words.style_from_here[0] and not rules.A_TOOL(words, 0):
        return not any(rules.AT_A_PLACE(words, i) for i in places)
    return rules.found_at(words, 0, rules.WHOLE_PARTS) is not None


def _clean_part(edit: Edit, part: range, begins: bool, shows: bool) -> None:
    """Remove style from within a part that is not all style.

    Args:
        begins: It is the first of its sentence.
        shows: What named the picture stood before it and goes: "a painting by Hopper, depicting four people".
    """
    words = _words(edit, part)
    i = max(rules.SAYS(words, 0), default=0) if shows else 0
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
    return len(part) if by > 0 and not something_done and _is_credit(edit, part[by:]) else None


def _is_credit(edit: Edit, places: range) -> bool:
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
    capitals = all(name[0].isupper() or name in _PARTICLES for name in names)
    return capitals and len(names) > 1 and not rules.NOT_A_NAME(words, 1)


def _clean_attributes(edit: Edit, part: range, words: Words, i: int, begins: bool) -> None:
    """ "an anime girl" becomes "a girl"."""
    counted = bool(rules.COUNT(words, i))
    if not counted and not (begins and i == 0):
        return
    first = i + counted
    stop = max(
        (end for end in rules.ATTRIBUTES(words, first) if rules.SHOWN_THING(words, end)), default=first
    )
    edit.remove(part[first:stop])
    if stop > first and words[i] in ("a", "an"):
        sounds = _AN_SOUND.match(words[stop]) and not _NO_AN_SOUND.match(words[stop])
        article = "an" if sounds else "a"
        edit.new[part[i]] = article.capitalize() if edit.raw(part[i])[0].isupper() else article
