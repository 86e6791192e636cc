"""Captions as tokens, and the text without some of them: the rest stays byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from stylecrafter.data.style_words import style_words

#: `<lora:x:1>`; a word, with what joins words in one; the weight that closes a bracket, as in "(word:1.2)"; a bracket
#: as prompts write one that is no emphasis; a sign.
#: No alternative can match a text in two ways, so the time is linear.
_TOKEN = re.compile(r"<[^<>\s]*>|\w+(?:['’&.\-–]\w+)*|:[\d.]+[)\]}]|\\[()\[\]{}]|\S")
QUOTES = "\"'“”‘’"
#: What stands between parts: signs like a comma, brackets, and the stop of a sentence.
SEPARATORS = frozenset(",().")


class Token(NamedTuple):
    """`text[start:end]`, and what it is looked up by: a word in lower case, a sign, or for a separator its kind."""

    start: int
    end: int
    norm: str


def tokenize(text: str) -> list[Token]:
    """All that is not white space. A dot that ends no sentence belongs to its word ("St.", "J.M.W.")."""
    tokens: list[Token] = []
    for found in _TOKEN.finditer(text):
        start, end, sign = found.start(), found.end(), found.group()
        before = tokens[-1].norm if tokens and tokens[-1].end == start else ""
        if sign[0].isalnum() or sign[0] in "_<":
            tokens.append(Token(start, end, sign.lower().replace("’", "'")))
        elif sign == "." and _is_abbreviation(before):
            tokens[-1] = tokens[-1]._replace(end=end)
        else:
            tokens.append(Token(start, end, _kind(text, start, sign, before)))
    return tokens


def _kind(text: str, at: int, sign: str, before: str) -> str:
    """What a sign separates, or the sign; `before` is what stands right before it."""
    behind = text[at + 1 : at + 3]
    lone = not text[max(at - 1, 0) : at].strip()
    if sign[-1] in "([{":
        return "("
    if sign[-1] in ")]}":
        return ")"
    if sign in ",;|，、；" or (not behind[:1].strip() and (sign == ":" or (lone and sign in "-–—"))):
        return ","
    if sign in QUOTES and before == ".":
        return "."
    ends = not behind.lstrip(QUOTES)[:1].strip()
    if sign in ".!?" and ends and (lone or before[:1].isalnum() or before == ")" or before in QUOTES):
        return "."
    return "…" if sign == "." else sign


@cache
def _abbreviations() -> frozenset[str]:
    return frozenset(style_words()["abbreviations"])


def _is_abbreviation(word: str) -> bool:
    """Of the list, or an initial, or several ("j.m.w")."""
    last = word.rpartition(".")[2]
    return word in _abbreviations() or (len(last) == 1 and last.isalpha())


def sentences(tokens: list[Token]) -> Iterator[range]:
    """Places of the tokens of each sentence, its stop included."""
    first = 0
    for i, token in enumerate(tokens, 1):
        if i == len(tokens) or (token.norm == "." and tokens[i].norm != "."):
            yield range(first, i)
            first = i


def parts(tokens: list[Token], within: range) -> Iterator[range]:
    """Places of what stands between two separators, the empty ones left out."""
    first = within.start
    for i in (*within, within.stop):
        if i == within.stop or tokens[i].norm in SEPARATORS:
            if first < i:
                yield range(first, i)
            first = i + 1


class Edit:
    """A caption and which of its tokens go.

    Attributes:
        gone: For every token, and one behind the last, whether it goes.
        new: Place of a token -> what stands there instead.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.gone = [False] * (len(self.tokens) + 1)
        self.new: dict[int, str] = {}

    def remove(self, places: range) -> None:
        """Let these tokens go."""
        for i in places:
            self.gone[i] = True

    def raw(self, i: int) -> str:
        """The token as it is written, or as it is to be."""
        return self.new.get(i, self.text[self.tokens[i].start : self.tokens[i].end])

    def drop_separators(self, sentence: range) -> None:
        """Let the separators go that lost what they separated: of an emptied part the comma before it or, where none
        is, the one behind; brackets around nothing; the stop of an emptied sentence."""
        kept: list[int] = []
        emptied = False  # whether something is gone since the last separator, and nothing kept
        for i in sentence:
            norm = self.tokens[i].norm
            if self.gone[i]:
                emptied = emptied or self._last(kept) in SEPARATORS
            elif emptied and norm in SEPARATORS:
                self._pop(kept, ",(" if norm == "." else ",")
                before = self._last(kept)
                if before == "(" and norm == ")":
                    self.gone[i] = self.gone[kept.pop()] = True
                    emptied = self._last(kept) in SEPARATORS
                elif (before, norm) in ((".", ","), ("(", ","), (".", ")")):
                    self.gone[i] = True
                else:
                    kept.append(i)
                    emptied = False
            else:
                kept.append(i)
                emptied = False
        if emptied:
            self._pop(kept, ",(")
        if any(self.gone[i] for i in sentence) and all(self.tokens[i].norm in SEPARATORS for i in kept):
            self.remove(sentence)

    def _last(self, kept: list[int]) -> str:
        """The last kept token of a sentence; the stop before it where none is."""
        return self.tokens[kept[-1]].norm if kept else "."

    def _pop(self, kept: list[int], kinds: str) -> None:
        while kept and self._last(kept) in kinds:
            self.gone[kept.pop()] = True

    def result(self) -> str:
        """The text without what is gone; what stood on both sides of it has one blank between."""
        if not any(self.gone):
            return self.text
        kept = [i for i in range(len(self.tokens)) if not self.gone[i]]
        if not kept:
            return ""
        first, last = self.tokens[0].start, self.tokens[-1].end
        pieces = [self.text[:first] if not self.gone[0] else "", self.raw(kept[0])]
        for before, i in pairwise(kept):
            pieces += [self._gap(before, i), self.raw(i)]
        return "".join([*pieces, self.text[last:] if not self.gone[len(self.tokens) - 1] else ""])

    def _gap(self, before: int, i: int) -> str:
        """What stands between two kept tokens."""
        left = self.text[self.tokens[before].end : self.tokens[before + 1].start]
        right = self.text[self.tokens[i - 1].end : self.tokens[i].start]
        norm, norm_before = self.tokens[i].norm, self.tokens[before].norm
        if norm == "." and (self.gone[i - 1] or self.gone[i + 1]):
            return ""
        if before + 1 == i or norm_before == ",":
            return left
        if norm == ")" or norm_before == "(" or (norm == "," and self.raw(i) not in "-–—|"):
            return ""
        if self.raw(i) == "|":
            return right
        # A sign that touched what is gone, such as a quote, touches what is left.
        glued = (not norm_before[0].isalnum() and not left) or (not norm[0].isalnum() and not right)
        return "" if glued and norm_before not in SEPARATORS and norm not in SEPARATORS else " "
