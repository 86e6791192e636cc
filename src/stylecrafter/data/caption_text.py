"""Captions as tokens, and what becomes of the text when some of them go: the rest stays byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from stylecrafter.data.style_words import style_words

#: `<lora:x:1>`; a word, with what joins words in one; the weight that closes a bracket, as in "(word:1.2)"; a sign.
#: No alternative can match one text in two ways, so the time is linear.
_TOKEN = re.compile(r"<[^<>\s]*>|\w+(?:['’&.\-–]\w+)*|:[\d.]+[)\]}]|\S")
QUOTES = frozenset("\"'“”‘’")


class Kind(Enum):
    """What a token is to the parts and sentences of a caption."""

    WORD = auto()
    COMMA = auto()
    OPEN = auto()
    CLOSE = auto()
    STOP = auto()
    OTHER = auto()


SEPARATORS = frozenset((Kind.COMMA, Kind.OPEN, Kind.CLOSE, Kind.STOP))


@dataclass(frozen=True, slots=True)
class Token:
    """`text[start:end]`; `norm` is what words are looked up by."""

    start: int
    end: int
    kind: Kind
    norm: str


def tokenize(text: str) -> list[Token]:
    """All that is not white space. A dot that ends no sentence belongs to its word ("St.", "J.M.W.")."""
    tokens: list[Token] = []
    for found in _TOKEN.finditer(text):
        start, end, sign = found.start(), found.end(), found.group()
        before = tokens[-1] if tokens and tokens[-1].end == start else None
        if sign[0].isalnum() or sign[0] == "_":
            tokens.append(Token(start, end, Kind.WORD, sign.lower().replace("’", "'")))
        elif sign == "." and before is not None and _is_abbreviation(before):
            tokens[-1] = Token(before.start, end, Kind.WORD, before.norm)
        else:
            tokens.append(Token(start, end, _kind(text, start, sign, before), sign))
    return tokens


def _kind(text: str, at: int, sign: str, before: Token | None) -> Kind:
    blank_before = not text[max(at - 1, 0) : at].strip()
    blank_behind = not text[at + 1 : at + 2].strip()
    if sign in "([{":
        return Kind.OPEN
    if sign[-1] in ")]}":
        return Kind.CLOSE
    if (
        sign in ",;|，、；"
        or (sign == ":" and blank_behind)
        or (sign in "-–—" and blank_before and blank_behind)
    ):
        return Kind.COMMA
    if sign in QUOTES and before is not None and before.kind is Kind.STOP:
        return Kind.STOP
    behind = text[at + 1 : at + 3]
    ends = not behind or behind[0].isspace() or (behind[0] in QUOTES and behind[1:].strip() == "")
    if (
        sign in ".!?"
        and ends
        and (before is None or before.kind in (Kind.WORD, Kind.CLOSE) or before.norm in QUOTES)
    ):
        return Kind.STOP
    return Kind.OTHER


@cache
def _abbreviations() -> frozenset[str]:
    return frozenset(style_words()["abbreviations"])


def _is_abbreviation(token: Token) -> bool:
    """Of the list, or an initial, or several ("j.m.w")."""
    last = token.norm.rpartition(".")[2]
    return token.kind is Kind.WORD and (token.norm in _abbreviations() or (len(last) == 1 and last.isalpha()))


def sentences(tokens: list[Token]) -> Iterator[range]:
    """Places of the tokens of each sentence, its stop included."""
    first = 0
    for i, token in enumerate(tokens):
        if token.kind is Kind.STOP and (i + 1 == len(tokens) or tokens[i + 1].kind is not Kind.STOP):
            yield range(first, i + 1)
            first = i + 1
    if first < len(tokens):
        yield range(first, len(tokens))


def parts(tokens: list[Token], within: range) -> Iterator[range]:
    """Places of what stands between two separators, the empty ones left out."""
    first = within.start
    for i in (*within, within.stop):
        if i == within.stop or tokens[i].kind in SEPARATORS:
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
        emptied = False
        for i in sentence:
            kind = self.tokens[i].kind
            if self.gone[i]:
                emptied = emptied or not kept or self.tokens[kept[-1]].kind in SEPARATORS
            elif not emptied or kind not in SEPARATORS:
                kept.append(i)
                emptied = False
            else:
                emptied = self._meet(i, kept)
        if emptied:
            self._drop_last(kept, Kind.COMMA, Kind.OPEN)
        if any(self.gone[i] for i in sentence) and all(self.tokens[i].kind in SEPARATORS for i in kept):
            self.remove(sentence)

    def _meet(self, i: int, kept: list[int]) -> bool:
        """A separator behind an emptied part; returns whether what is before it is still an emptied part."""
        kind = self.tokens[i].kind
        before = self.tokens[kept[-1]].kind if kept else None
        if kind is Kind.STOP:
            self._drop_last(kept, Kind.COMMA, Kind.OPEN)
        elif before is Kind.COMMA:
            self._drop_last(kept, Kind.COMMA)
            before = self.tokens[kept[-1]].kind if kept else None
        if (kind is Kind.COMMA and before in (None, Kind.OPEN)) or (kind is Kind.CLOSE and before is None):
            self.gone[i] = True
            return True
        if kind is Kind.CLOSE and before is Kind.OPEN:
            self.gone[i] = self.gone[kept.pop()] = True
            return not kept or self.tokens[kept[-1]].kind in SEPARATORS
        kept.append(i)
        return False

    def _drop_last(self, kept: list[int], *kinds: Kind) -> None:
        while kept and self.tokens[kept[-1]].kind in kinds:
            self.gone[kept.pop()] = True

    def result(self) -> str:
        """The text without what is gone; what stood on both sides of it has one blank between."""
        kept = [i for i in range(len(self.tokens)) if not self.gone[i]]
        if not kept:
            return ""
        pieces = [self.text[: self.tokens[0].start] if kept[0] == 0 else "", self.raw(kept[0])]
        for before, i in zip(kept, kept[1:], strict=False):
            pieces += [self._gap(before, i), self.raw(i)]
        if kept[-1] == len(self.tokens) - 1:
            pieces.append(self.text[self.tokens[-1].end :])
        return "".join(pieces)

    def _gap(self, before: int, i: int) -> str:
        """What stands between two kept tokens."""
        left = self.text[self.tokens[before].end : self.tokens[before + 1].start]
        right = self.text[self.tokens[i - 1].end : self.tokens[i].start]
        kind, kind_before = self.tokens[i].kind, self.tokens[before].kind
        if kind is Kind.STOP and (self.gone[i - 1] or self.gone[i + 1]):
            return ""
        if before + 1 == i:
            return left
        sign = self.raw(i)
        if kind is Kind.CLOSE or kind_before is Kind.OPEN or (kind is Kind.COMMA and sign not in "-–—"):
            return ""
        if kind_before is Kind.COMMA:
            return left
        glued = (kind_before is Kind.OTHER and not left) or (kind is Kind.OTHER and not right)
        return "" if glued else " "
