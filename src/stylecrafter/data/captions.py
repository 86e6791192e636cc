"""Decoupling: captions that say what a picture shows, and leave how it is made to the style reference.

The paper regenerates captions and removes style descriptions by regular expressions ("a painting of"), so that the
text cannot explain the style and the adapter has to. `CaptionCleaning.PUBLISHED` removes the three patterns of the
published code and nothing else. `CaptionCleaning.FULL` also knows captions as people and models write them ("…, oil
on canvas", "in the style of …", "an anime girl") and leaves alone what only looks like style ("a man painting a
fence").

What counts as style in the full mode: the medium and technique of the whole picture, painters, movements and periods,
colour treatment, lens and light as marks of the making, renderers, sites and praise ("trending on artstation", "8k").
What does not: framing ("a close-up of", "an aerial view of": where the camera stands is content), and pictures that are
things in the scene ("a painting above the bed").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import StrEnum

from stylecrafter.data import style_words as words


class CaptionCleaning(StrEnum):
    """What is removed from captions."""

    NONE = "none"
    PUBLISHED = "published"
    FULL = "full"


def clean_caption(caption: str, cleaning: CaptionCleaning = CaptionCleaning.FULL) -> str:
    """The caption without its words of style; empty where nothing else was said.

    White space is made single in every mode; nothing else is added, but that "an anime girl" becomes "a girl".
    """
    return _CLEANERS[cleaning](caption)


def _plain(caption: str) -> str:
    return " ".join(caption.split())


# --- the published patterns -----------------------------------------------------------------------------------------

_KINDS = "painting|drawing|mural|artwork|view|portrait|photo|photograph|watercolor|illustration|picture|digital art"
_PUBLISHED = (
    re.compile(rf"^((a )?(\w+\s+)*(?:{_KINDS}) of )+", re.IGNORECASE),
    re.compile(rf"in (a )?(\w+\s+)*(?:{_KINDS})\s?", re.IGNORECASE),
    re.compile(r"^(?:painting|photograph|digital art|black and white photograph) - ", re.IGNORECASE),
)


def _published(caption: str) -> str:
    """The three patterns of the published training code, in their order. They were made for BLIP-2's lower case; here
    capitals match as well."""
    for pattern in _PUBLISHED:
        caption = pattern.sub("", caption)
    return _plain(caption)


# --- the full mode --------------------------------------------------------------------------------------------------


def _any(phrases: Iterable[str]) -> str:
    """An alternation of phrases, longest first, whose blanks match any white space."""
    ordered = sorted(set(phrases), key=len, reverse=True)
    return "(?:" + "|".join(re.escape(phrase).replace(r"\ ", r"\s+") for phrase in ordered) + r")(?![\w'’&-])"


_MEDIUM, _WEAK = _any(words.MEDIA), _any(words.WEAK_MEDIA)
_STRONG_WORDS = (*words.MEDIA, *words.TECHNIQUES, *words.MOVEMENTS, *words.TREATMENTS, *words.ARTISTS)
_STRONG = _any(phrase for phrase in _STRONG_WORDS if phrase not in {"turner", "constable"})
_ARTIST = _any(words.ARTISTS)
_MAKING = _any(words.MAKING)
_JOIN = r"(?:a|an|the|in|on|with|and|of|by|from|as|using|for)\b"
_TERM = rf"(?:{_STRONG}|{_any(words.COMPANIONS)}|{_any(words.WEAK_MEDIA)})"
#: Words of style and what joins them, nothing else. The bounds keep the time linear in the caption's length.
_SEQUENCE = rf"(?:{_JOIN}\s+){{0,3}}{_TERM}(?:(?:\s+|\s*[/&+]\s*)(?:{_JOIN}\s+){{0,3}}{_TERM}){{0,30}}"
_ARTICLE = r"(?:(?:a|an|the|my|one|this|some|another)\s+)?"
_ING = rf"(?!{_any(words.ING_MODIFIERS)})[\w-]+ing(?![\w'’-])"
#: Up to five words that describe a medium: "a highly detailed digital …".
_MODIFIERS = (
    r"(?:(?:black\s+(?:and|&)\s+white|pen\s+and\s+ink|"
    rf"(?!{_any(words.NO_MODIFIERS)}|{_ING})[\w'’.&-]+),?\s+){{0,5}}?"
)
_STYLE_WORD = rf"(?:{_STRONG})\s+"
_NAME_OF_PICTURE = (
    rf"(?:{_MODIFIERS}{_MEDIUM}|(?:{_MODIFIERS}){_STYLE_WORD}{_WEAK}|(?:beautiful\s+|scenic\s+)?view\b)"
)
_SAYS = (
    r"(?:of|showing|shows|depicting|depicts|featuring|features|portraying|"
    r"(?:that|which)\s+(?:shows|depicts|features))"
)
_I = re.IGNORECASE

_HEAD = re.compile(
    rf"^(?:(?:this|that|it|here|there)(?:\s+is|['’]s)\s+)?{_ARTICLE}{_NAME_OF_PICTURE}\s+{_SAYS}\s+", _I
)
_CLOSE_UP = re.compile(rf"\b(close[-\s]?up)\s+(?:{_STRONG}\s+)*{_MEDIUM}(?=\s+of\b)", _I)
_IS_STYLE = re.compile(rf"^{_SEQUENCE}$", _I)
#: "a neon sign in a street", "a pencil on paper": made of words of style, but things at their place.
_IS_THING = re.compile(
    rf"\b(?:in|on|at)\s+(?:an?|the)\s+{_any(words.PLACES)}|^an?\s+(?:pencil|pen|brush|crayon|marker)s?\b", _I
)
_HAS_STRONG = re.compile(rf"(?<![\w'’-]){_STRONG}", _I)
_TELLS_STYLE = re.compile(rf"(?<![\w'’-])(?:{_STRONG}|(?:style|manner)\b)", _I)
_YEAR = re.compile(r"^(?:c\.\s*|circa\s+|ca\.\s*)?(?:1[3-9]|20)\d\d(?:\s*[-–]\s*\d{2,4}|s)?$", _I)

#: A whole part of a caption that is style because of how it begins or ends.
_STYLE_PARTS = tuple(
    re.compile(pattern, _I)
    for pattern in (
        rf"^(?:{_MAKING}\s+)?(?:in|with)\s+(?:the|a|an)\s+(?:\w+\s+)?(?:style|manner|spirit)\s+of\b.*$",
        r"^style\s+of\b.*$",
        rf"^(?:in\s+)?(?:the\s+|an?\s+)?(?:(?!{_any(words.NO_MODIFIERS)})[\w'’.-]+\s+){{1,5}}style$",
        rf"^(?:{_ARTICLE}{_NAME_OF_PICTURE}|{_any(['art', 'painted', 'drawn', 'illustrated', 'photographed'])})"
        r"\s+by\s+(?!hand\b).+$",
        rf"^(?:{_MAKING}\s+)?(?:in|with|as|on|using)\s+{_SEQUENCE}$",
        rf"^(?:inspired\s+by|reminiscent\s+of|after|à\s+la|a\s+la)\s+(?:\w+\s+)*(?:{_STRONG}).*$",
        rf"^(?:{_ARTIST})(?:\s+(?:the\s+elder|the\s+younger|and\s+.*))?$",
    )
)
#: The end of a part, from where style begins.
_STYLE_ENDS = tuple(
    re.compile(pattern, _I)
    for pattern in (
        rf"\s+(?:{_MAKING}\s+)?in\s+(?:the|a|an)\s+(?:\w+\s+)?(?:style|manner)\s+of\b.*$",
        rf"\s+(?:{_MAKING}\s+)?in\s+(?:the\s+|an?\s+)?(?:(?!{_any(words.NO_MODIFIERS)})[\w'’.-]+\s+){{1,4}}style$",
        rf"\s+(?:{_MAKING}\s+)(?:in|with|as|on|of|using)\s+{_SEQUENCE}$",
        rf"\s+(?:in|as)\s+{_SEQUENCE}$",
        rf"\s+{_ARTICLE}(?:{_STRONG}\s+)*{_MEDIUM}\s+by\s+[^,]+$",
        rf"\s+(?:{_any(['painted', 'illustrated', 'photographed', 'sketched'])}\s+)by\s+(?!hand\b)[^,]+$",
        rf"\s+(?:inspired\s+by|reminiscent\s+of|after|à\s+la)\s+(?:\w+\s+)*(?:{_ARTIST}|paintings?\b|{_MEDIUM}).*$",
        rf"\s+by\s+(?:{_ARTIST})(?:\s+and\s+.*)?$",
    )
)
_PARTICLES = ("van", "von", "de", "da", "di", "del", "and")
_CREDIT = re.compile(r"(?:^|\s+)by\s+((?:[^\W\d_][\w'’.-]*\s*){1,5})$")
_ATTRIBUTE = re.compile(
    rf"(?<![\w'’-])((?:an?|the|two|three|four|some|my|one)\s+|^|and\s+)((?:{_any(words.ATTRIBUTES)}\s+)+)"
    rf"(?!{_any(words.THINGS)}|{_MEDIUM})(?=[^\W\d_])",
    _I,
)
_KEEPS = re.compile(rf"{_any(words.OF_THE_THING)}$", _I)
_PLACE = re.compile(rf"(?<!\w){_any(words.PLACES)}", _I)
_SEPARATORS = re.compile(r"(\s*[,;|]\s*|\s+[-–—]\s+|:\s+|\s*[()]\s*)")
_AN_SOUND = re.compile(r"(?:[aeio]|u(?!ni|s[eu]|k|ti)|hour|hon(?:est|our|or)|heir)(?!ne?\b|uro)", _I)


def _full(caption: str) -> str:
    """Remove until nothing more is found: a head may hide another, a dropped end shows the next."""
    text = _plain(caption)
    for _ in range(6):
        before = text
        text = _clean_once(text)
        if text == before:
            break
    return text


def _clean_once(text: str) -> str:
    text = _CLOSE_UP.sub(r"\1", text)
    text = _HEAD.sub("", text)
    stop = "." if text.endswith(".") and not text.endswith("..") else ""
    pieces = _SEPARATORS.split(text.removesuffix(stop))
    kept = ""
    dropped = False
    for index in range(0, len(pieces), 2):
        # "…, oil on canvas, soft edges": what only goes along with style is style behind it.
        dropped = _is_style(pieces[index], follows=index > 0) or (
            dropped and bool(_IS_STYLE.match(pieces[index]))
        )
        part = "" if dropped else _without_end(pieces[index])
        if part:
            kept += (pieces[index - 1] if kept else "") + part
    kept = _ATTRIBUTE.sub(_without_attribute, kept)
    kept = _balanced(re.sub(r"\s+([,.])", r"\1", kept).strip(" ,;:|-–—"))
    return kept + stop if kept else ""


def _is_style(part: str, follows: bool) -> bool:
    text = part.strip(" .\"'")
    if _YEAR.match(text):
        return follows
    if _IS_STYLE.match(text) and _HAS_STRONG.search(text) and not _IS_THING.search(text):
        return True
    return any(pattern.match(text) for pattern in _STYLE_PARTS) or (
        follows and _is_credit(text, after_comma=True)
    )


def _without_end(part: str) -> str:
    for pattern in _STYLE_ENDS:
        found = pattern.search(part)
        if found and _TELLS_STYLE.search(found.group()) and not _KEEPS.search(part[: found.start()]):
            return part[: found.start()]
    found = _CREDIT.search(part)
    if found and found.start() > 0 and _is_credit(found.group().strip(), after_comma=False):
        return part[: found.start()]
    return part


def _is_credit(text: str, after_comma: bool) -> bool:
    """Whether "by …" names who made the picture: a known painter, or a name in capitals that is no place."""
    found = _CREDIT.match(text)
    if not found or _PLACE.search(found.group(1)):
        return False
    names = found.group(1).split()
    if re.match(rf"(?:{_ARTIST}|(?:an?\s+)?(?:unknown|anonymous)\b)", found.group(1), _I):
        return True
    if names[0].lower() in ("the", "a", "an", "his", "her", "their", "my", "its"):
        return False
    capitals = all(name[0].isupper() or name.lower() in _PARTICLES for name in names)
    return (capitals and len(names) >= 2) or (after_comma and 2 <= len(names) <= 4)


def _without_attribute(found: re.Match[str]) -> str:
    article = found.group(1)
    if article.strip().lower() not in ("a", "an"):
        return article
    rest = found.string[found.end() :]
    fitting = "an" if _AN_SOUND.match(rest) else "a"
    return (fitting.capitalize() if article[0].isupper() else fitting) + " "


def _balanced(text: str) -> str:
    """With a bracket closed, or gone, whose partner went with a removed part."""
    missing = text.count("(") - text.count(")")
    return text + ")" * missing if missing > 0 else text.replace(")", "", -missing).strip()


_CLEANERS: dict[CaptionCleaning, Callable[[str], str]] = {
    CaptionCleaning.NONE: _plain,
    CaptionCleaning.PUBLISHED: _published,
    CaptionCleaning.FULL: _full,
}
