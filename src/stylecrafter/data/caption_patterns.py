"""Small patterns over the words of a caption: from a place to all places where the pattern can end.

Ends are sets: nothing is tried twice from one place, and every repetition is bounded, so that what a pattern costs at a
place has a bound whatever the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, cached_property

from stylecrafter.data.caption_text import SEPARATORS, tokenize
from stylecrafter.data.style_words import style_words


class Words(list[str]):
    """Tokens as they are looked up, and an empty one behind the last."""

    def __init__(self, norms: Iterable[str]) -> None:
        super().__init__([*norms, ""])

    def is_end(self, i: int) -> bool:
        """Whether a part ends before place `i`."""
        return self[i] == "" or self[i] in SEPARATORS

    @cached_property
    def style_from_here(self) -> list[bool]:
        """For every place, whether words of style and what joins them reach from there to the end of the part."""
        reach = [False] * len(self)
        for i in reversed(range(len(self) - 1)):
            reach[i] = any(self.is_end(end) or reach[end] for end in STYLE_TERM(self, i))
        return reach


Pattern = Callable[[Words, int], set[int]]


@cache
def _index(lists: tuple[str, ...]) -> dict[str, list[list[str]]]:
    """First word -> the phrases of some lists that begin with it."""
    index: dict[str, list[list[str]]] = {}
    for phrase in {phrase for name in lists for phrase in style_words()[name]}:
        norms = [token.norm for token in tokenize(phrase)]
        index.setdefault(norms[0], []).append(norms)
    return index


@cache
def first_words(*lists: str) -> frozenset[str]:
    """What the phrases of some lists begin with."""
    return frozenset(_index(lists))


def listed(*lists: str) -> Pattern:
    """A phrase of one of the lists of `style_words.txt`."""

    def match(words: Words, i: int) -> set[int]:
        phrases = _index(lists).get(words[i], ())
        return {i + len(phrase) for phrase in phrases if words[i : i + len(phrase)] == phrase}

    return match


def phrase(text: str) -> Pattern:
    """One of a few phrases: "in the|a|an style" is any of three, each word a choice; "?" marks what may be missing."""
    steps = [(word.removesuffix("?").split("|"), word.endswith("?")) for word in text.split()]

    def match(words: Words, i: int) -> set[int]:
        ends = {i}
        for choices, may_miss in steps:
            ends = {end + 1 for end in ends if words[end] in choices} | (ends if may_miss else set())
            if not ends:
                break
        return ends

    return match


def check(fits: Callable[[str], bool]) -> Pattern:
    """A word, or a sign, that passes a check."""
    return lambda words, i: {i + 1} if fits(words[i]) else set()


#: Any word.
a_word = check(lambda word: word[:1].isalnum())


def end(words: Words, i: int) -> set[int]:
    """The end of the part."""
    return {i} if words.is_end(i) else set()


def rest(words: Words, i: int) -> set[int]:
    """All up to the end of the part, wherever that is."""
    return {len(words) - 1}


def style_to_end(words: Words, i: int) -> set[int]:
    """Words of style and what joins them, up to the end of the part."""
    return {len(words) - 1} if words.style_from_here[i] else set()


def seq(*patterns: Pattern) -> Pattern:
    """One after the other."""

    def match(words: Words, i: int) -> set[int]:
        ends = {i}
        for pattern in patterns:
            ends = set().union(*[pattern(words, end) for end in ends])
            if not ends:
                break
        return ends

    return match


def either(*patterns: Pattern) -> Pattern:
    """Any of them."""
    return lambda words, i: set().union(*[pattern(words, i) for pattern in patterns])


def maybe(pattern: Pattern) -> Pattern:
    """It, or nothing."""
    return lambda words, i: {i} | pattern(words, i)


def up_to(most: int, pattern: Pattern) -> Pattern:
    """It, again and again, or nothing."""

    def match(words: Words, i: int) -> set[int]:
        ends = new = {i}
        for _ in range(most):
            new = set().union(*(pattern(words, end) for end in new)) - ends
            if not new:
                break
            ends = ends | new
        return ends

    return match


def followed_by(pattern: Pattern) -> Pattern:
    """Nothing, where the pattern comes next."""
    return lambda words, i: {i} if pattern(words, i) else set()


def unless(pattern: Pattern) -> Pattern:
    """Nothing, where the pattern does not come next."""
    return lambda words, i: set() if pattern(words, i) else {i}


STYLE_LISTS = ("media", "techniques", "movements", "treatments", "artists")
_JOINS = up_to(4, listed("joins"))
#: One term of style with what joins it to the one before: "on canvas", "and thick outlines".
STYLE_TERM = seq(_JOINS, listed(*STYLE_LISTS, "companions", "weak media"))
