"""Decoupling: captions that say what a picture shows, and leave how it is made to the style reference.

The paper regenerates captions and removes style descriptions by regular expressions ("a painting of"), so that the
text cannot explain the style and the adapter has to. `CaptionCleaning.PUBLISHED` removes the three patterns of the
published code and nothing else. `CaptionCleaning.FULL` also knows captions as people and models write them ("…, oil
on canvas", "in the style of …", "an anime girl") and leaves alone what only looks like style ("a man painting a
fence"). It reads sentence by sentence and part by part; content may go on behind a painter or a style ("a dog in the
style of Picasso running on the beach").

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
#: Of the marks of making those that are never said of the thing itself, as in "a pot made in clay".
_DRAWN = _any(["painted", "drawn", "sketched", "illustrated", "engraved", "etched", "photographed", "inked"])
_MATTER = _any((*words.MEDIA, *words.TECHNIQUES, *words.MOVEMENTS))
_MAKING = _any(words.MAKING)
_JOIN = r"(?:a|an|the|in|on|with|and|of|by|from|as|using|for)\b"
_TERM = rf"(?:{_STRONG}|{_any(words.COMPANIONS)}|{_any(words.WEAK_MEDIA)})"
#: Words of style and what joins them, nothing else. The bounds keep the time linear in the caption's length. A term
#: ends at the end of a word, so that another needs what stands between; it is written once, being most of the pattern.
_SEQUENCE = rf"(?:(?:\s+|\s*[/&+]\s*)?(?:{_JOIN}\s+){{0,3}}{_TERM}){{1,31}}"
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
_SHOWS = "(?:shows|depicts|features|portrays|presents|captures|contains|displays|represents|illustrates)"
_SHOWING = (
    r"(?:showing|depicting|featuring|portraying|presenting|capturing|displaying|representing|illustrating|"
    rf"where|in\s+which|(?:(?:that|which)\s+)?{_SHOWS})\b"
)
_SAYS = rf"(?:of|{_SHOWING})"
_I = re.IGNORECASE

_GOES_ON = rf"(?:{_any(words.TURNS)}|{_SHOWING}|(?!{_any(words.ING_THINGS)})[\w-]{{2,}}ing(?![\w'’-]))"
#: Where content begins again behind a style. What is style up to the end of the part is none.
_TURN = rf"(?!{_SEQUENCE}\s*$){_GOES_ON}"
_NO_TURN = rf"(?:\s+(?!{_TURN})\S+){{1,30}}"
_NAME_WORD = r"[^\W_][\w'’.&-]*"
_NAMES = rf"{_NAME_WORD}(?:\s+(?!{_GOES_ON}|of\b){_NAME_WORD}){{0,5}}"
_NO_NAME = rf"(?:hand|the|an?|his|her|their|my|our|its|this|two|three|some)\b|{_any(words.TURNS)}"
#: Who made a picture. A place ("by the window", "by Lake Como") never did.
_MAKER = (
    rf"(?:(?:(?:the|an?|his|her|their|my|our|some)\s+)(?:(?!{_any(words.TURNS)}|of\b)[\w'’-]+\s+){{0,3}}?"
    rf"{_any(words.MAKERS)}(?:\s+{_NAMES})?|{_ARTIST}|"
    rf"(?!{_NO_NAME})(?!(?:{_NAME_WORD}\s+){{0,4}}{_any(words.PLACES)}){_NAMES})"
)
#: The style of something is that of a picture where it is a name ("of Monet") or speaks of pictures ("of a comic").
_LIKE = (
    rf"(?!an?\s+)(?:the\s+)?{_NAMES}|an?\s+(?=(?:[\w'’-]+\s+){{0,3}}(?:{_STRONG}|{_MEDIUM}|{_WEAK}|"
    rf"{_any(words.MAKERS)}|\d\d\d\ds|[\w-]+\s+century))(?:{_NAMES})"
)
_IN_THE_STYLE = r"(?:in|with)\s+(?:the|an?)\s+(?:\w+\s+)?(?:style|manner|spirit)\s+of\b"
_STYLE_OF = rf"{_IN_THE_STYLE}\s+(?:{_LIKE})"
_IN_STYLE = (
    rf"in\s+(?:the\s+|an?\s+)?(?:(?!{_any(words.NO_MODIFIERS)})[\w'’.-]+\s+){{0,3}}"
    rf"(?:{_STRONG}|[\w-]+(?:ist|istic|esque|['’]s))\s+(?:[\w'’-]+\s+)?style"
)
#: What can stand between the name of a picture and what it shows: "by Monet", "on canvas", "in the style of …".
_QUALIFIER = (
    rf"(?:(?:{_MAKING}\s+)?(?:{_STYLE_OF}|{_IN_STYLE}|by\s+{_MAKER}|"
    r"(?:in|from)\s+(?:the\s+)?(?:\d{4}s?|(?:\w+\s+)?[\w-]+\s+century)|"
    rf"(?!{_IN_THE_STYLE})(?:(?=(?:in|on|with|using)\b){_SEQUENCE}|(?:in|using)\s+(?:(?!{_any(words.NO_MODIFIERS)})[\w-]+\s+){{1,2}}"
    rf"{_MATTER})))"
)
_WITH = (
    rf"with\s+(?!{_SEQUENCE}\s*$)(?!(?:(?!{_any(words.TURNS)}|of\b|in\b)[\w'’-]+\s+){{0,3}}"
    rf"{_any(words.OF_THE_PICTURE)})"
)
_THIS_IS = rf"(?:(?:this|that|it|here|there|(?:this|the)\s+{_any(words.PICTURES)})(?:\s+is|['’]s)\s+)?"

_HEAD = re.compile(
    rf"^{_THIS_IS}{_ARTICLE}(?:{_MODIFIERS}(?P<shows>{_any(words.PICTURES)})|{_NAME_OF_PICTURE})"
    rf"(?:\s+{_QUALIFIER}){{0,2}}?\s+(?:{_SAYS}\s+|(?(shows){_WITH}|(?!)))",
    _I,
)
#: "depicting …" behind "a painting by Hopper,", which is gone.
_SHOWS_FIRST = re.compile(rf"^{_SAYS}\s+", _I)
#: "It shows …" behind a sentence that named the picture, and is gone.
_IT_SHOWS = re.compile(rf"^it\s+{_SHOWS}\s+", _I)
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
        rf"^(?:{_MAKING}\s+)?{_IN_THE_STYLE}{_NO_TURN}$",
        r"^style\s+of\b.*$",
        rf"^(?:in\s+)?(?:the\s+|an?\s+)?(?:(?!{_any(words.NO_MODIFIERS)})[\w'’.-]+\s+){{1,5}}style$",
        rf"^(?:{_THIS_IS}{_ARTICLE}{_NAME_OF_PICTURE}|art|{_DRAWN})\s+by\s+{_MAKER}(?:\s+(?!{_TURN}).*)?$",
        # Sentences about the picture alone: "The painting is done in watercolor".
        rf"^(?:(?:the|this|its)\s+)?(?:(?:it|this|work|piece|art)(?=.*\s(?:{_STRONG}|style\b))|"
        rf"{_MODIFIERS}(?:{_MEDIUM}|(?:style|medium|technique)(?:\s+of\s+the\s+{_MEDIUM})?))"
        rf"\s+(?:is|was|are|were|has\s+been|appears\s+to\s+be|looks\s+like)\s+(?:{_MAKING}\s+)?"
        rf"(?:{_SEQUENCE}|by\s+{_MAKER}|{_STYLE_OF}|{_IN_STYLE}|"
        rf"(?:similar\s+to|reminiscent\s+of|inspired\s+by|that\s+of)\s+{_NAMES})$",
        rf"^(?:the|this)\s+(?:artist|painter|photographer|style|{_MEDIUM})\s+(?:has|has\s+used|uses|used)\s+{_SEQUENCE}$",
        rf"^in\s+(?:this|the)\s+{_MODIFIERS}{_MEDIUM}$",
        rf"^(?:{_MAKING}\s+)?(?:in|with|as|on|using)\s+{_SEQUENCE}$",
        rf"^(?:inspired\s+by|reminiscent\s+of|after|à\s+la|a\s+la)\s+(?:\w+\s+)*(?:{_STRONG}).*$",
        rf"^(?:{_ARTIST})(?:\s+(?:the\s+elder|the\s+younger|and\s+.*))?$",
    )
)
#: The end of a part, from where style begins.
_STYLE_ENDS = tuple(
    re.compile(pattern, _I)
    for pattern in (
        rf"\s+(?:{_MAKING}\s+)?in\s+(?:the|a|an)\s+(?:\w+\s+)?(?:style|manner)\s+of{_NO_TURN}$",
        rf"\s+(?:{_MAKING}\s+)?in\s+(?:the\s+|an?\s+)?(?:(?!{_any(words.NO_MODIFIERS)})[\w'’.-]+\s+){{1,4}}style$",
        rf"\s+(?:{_MAKING}\s+)(?:in|with|as|on|of|using)\s+{_SEQUENCE}$",
        rf"\s+(?:in|as)\s+{_SEQUENCE}$",
        rf"\s+{_ARTICLE}(?:{_STRONG}\s+)*{_MEDIUM}\s+by\s+{_MAKER}(?:\s+(?!{_TURN}).*)?$",
        rf"\s+(?:{_any(['painted', 'illustrated', 'photographed', 'sketched'])}\s+)by\s+(?!hand\b)[^,]+$",
        rf"\s+(?:inspired\s+by|reminiscent\s+of|after|à\s+la)\s+(?:\w+\s+)*(?:{_ARTIST}|paintings?\b|{_MEDIUM}).*$",
        rf"\s+by\s+(?:{_ARTIST})(?:\s+and\s+.*)?$",
    )
)
#: Style in the middle of a part, up to where content begins again.
_STYLE_MIDDLES = tuple(
    re.compile(rf"(?:^|\s+){pattern}(?=\s+{_TURN})", _I)
    for pattern in (
        rf"(?:{_MAKING}\s+)?{_STYLE_OF}",
        rf"(?:{_MAKING}\s+)?{_IN_STYLE}",
        rf"{_DRAWN}\s+(?:in|with|using)\s+(?=(?:[\w-]+\s+){{0,3}}{_MATTER}){_SEQUENCE}(?!\s+on\b)",
        rf"(?:{_DRAWN}\s+)?by\s+{_ARTIST}",
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
#: What is left over of "a cat is shown in cartoon style".
_IS_LAST = re.compile(r"\s+(?:is|are|was|were)$", _I)
_PLACE = re.compile(rf"(?<!\w){_any(words.PLACES)}", _I)
#: A word that ends a sentence: of two letters or more, a number or a bracket before the stop, or a stop by itself.
_ENDS_SENTENCE = re.compile(
    rf"^(?!{_any(words.ABBREVIATIONS)}\.$).*(?:[^\W\d_]{{2}}|\d|[)\"”’]|^)[.!?][\"”’]?$", _I
)
_SEPARATORS = re.compile(r"(\s*[,;|]\s*|\s+[-–—]\s+|:\s+|\s*[()]\s*)")
_AN_SOUND = re.compile(r"(?:[aeio]|u(?!ni|s[eu]|k|ti)|hour|hon(?:est|our|or)|heir)(?!ne?\b|uro)", _I)


def _full(caption: str) -> str:
    """Sentence by sentence; a caption of one part is one sentence."""
    kept: list[str] = []
    for number, sentence in enumerate(_sentences(_plain(caption))):
        text = _clean_sentence(sentence if kept else _IT_SHOWS.sub("", sentence) if number else sentence)
        if text and kept and sentence[0].isupper():
            text = text[0].upper() + text[1:]
        if text:
            kept.append(text)
    return " ".join(kept)


def _sentences(text: str) -> list[str]:
    """Parts that end in a stop and a blank; an initial or an abbreviation ends none."""
    parts = [""]
    for word in text.split():
        parts[-1] = f"{parts[-1]} {word}".lstrip()
        if _ENDS_SENTENCE.search(word):
            parts.append("")
    return [part for part in parts if part]


def _clean_sentence(text: str) -> str:
    """Remove until nothing more is found: a head may hide another, a dropped end shows the next."""
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
        part = _without_middle(pieces[index])
        # "…, oil on canvas, soft edges": what only goes along with style is style behind it.
        dropped = _is_style(part, follows=index > 0) or (dropped and bool(_IS_STYLE.match(part)))
        part = "" if dropped else _without_end(part)
        if index > 0 and not kept:
            part = _SHOWS_FIRST.sub("", part)
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


def _without_middle(part: str) -> str:
    for pattern in _STYLE_MIDDLES:
        found = pattern.search(part)
        if found and not _KEEPS.search(part[: found.start()]):
            return (part[: found.start()] + part[found.end() :]).strip()
    return part


def _without_end(part: str) -> str:
    for pattern in _STYLE_ENDS:
        found = pattern.search(part)
        if found and _TELLS_STYLE.search(found.group()) and not _KEEPS.search(part[: found.start()]):
            return _IS_LAST.sub("", part[: found.start()])
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
    if "of" in names:  # "by Ansel Adams of a valley": more than a name
        return False
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
