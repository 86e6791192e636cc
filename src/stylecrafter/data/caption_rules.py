"""What counts as words of style in captions, and where they stand.

Names in capitals are patterns. A rule is a pattern with an example, in which bars enclose what it removes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from stylecrafter.data.caption_patterns import (
    STYLE_LISTS,
    STYLE_TERM,
    Pattern,
    Words,
    a_word,
    check,
    either,
    end,
    first_words,
    followed_by,
    listed,
    maybe,
    phrase,
    rest,
    seq,
    style_to_end,
    unless,
    up_to,
)

Rule = tuple[str, Pattern]


def _rule(example: str, *patterns: Pattern) -> Rule:
    return example, seq(*patterns)


def _ing(least: int, exceptions: str) -> Pattern:
    """A word in -ing behind so many letters, that is on no list."""
    return seq(unless(listed(exceptions)), check(lambda word: word[least:].endswith("ing")))


STRONG, MEDIUM, WEAK = listed(*STYLE_LISTS), listed("media"), listed("weak media")
SHOWING_MEDIUM, MATTER = listed("showing media"), listed("media", "techniques", "movements")
ARTIST, MAKERS, PLACES = listed("artists", "artists with common names"), listed("makers"), listed("places")
MAKING, DRAWN = listed("making"), listed("drawn")
DRAWN_BY = seq(either(DRAWN, phrase("art")), phrase("by"))
TELLS_STYLE = either(STRONG, phrase("style|manner"))
THE, A = phrase("the|a|an?"), phrase("a|an|the|my|one|this|some|another?")
STYLE = phrase("style")
PLAIN = seq(unless(listed("not describing")), a_word)
CLOSE_UP = either(phrase("close-up|closeup"), phrase("close up"))
#: Up to five words that describe a medium: "a highly detailed digital …".
_DESCRIBING = seq(unless(_ing(1, "describing in -ing")), unless(CLOSE_UP), PLAIN)
_MODIFIER = either(phrase("black and|& white"), phrase("pen and ink"), _DESCRIBING)
MODIFIERS = up_to(5, seq(_MODIFIER, phrase(",?")))

#: Where content goes on behind a style. What is style up to the end of the part is none.
SHOWING = either(listed("showing"), phrase("in which"), seq(phrase("that|which?"), listed("shows")))
GOES_ON = either(listed("turns"), SHOWING, _ing(2, "things in -ing"))
TURN = seq(unless(style_to_end), GOES_ON)
_BEFORE_TURN = up_to(30, seq(unless(TURN), unless(end), check(bool)))
NO_TURN = seq(_BEFORE_TURN, end)
UNTIL_TURN = seq(_BEFORE_TURN, either(end, followed_by(TURN)))
NO_TURN_NEXT = either(end, seq(unless(TURN), rest))

NAMES = seq(a_word, up_to(5, seq(unless(GOES_ON), unless(phrase("of")), a_word)))
_NO_TURN_WORD = seq(unless(listed("turns")), unless(phrase("of")), a_word)
NOT_A_NAME, NOBODY = listed("not a name"), phrase("a|an? unknown|anonymous")
_A_MAKER = seq(phrase("the|a|an|his|her|their|my|our|some"), up_to(3, _NO_TURN_WORD), MAKERS, maybe(NAMES))
_AT_A_PLACE = seq(up_to(4, a_word), PLACES)
#: Who made a picture. A place ("by the window", "by Lake Como") never did.
MAKER = either(_A_MAKER, ARTIST, seq(unless(NOT_A_NAME), unless(listed("turns")), unless(_AT_A_PLACE), NAMES))
BY = seq(phrase("by"), MAKER)
YEAR = check(lambda word: re.fullmatch(r"\d{4}s?", word) is not None)
CENTURY = seq(a_word, phrase("century"))
_OF_PICTURES = seq(up_to(3, a_word), either(STRONG, WEAK, MAKERS, YEAR, CENTURY))
#: The style of something is that of a picture where it is a name ("of Monet") or speaks of pictures ("of a comic").
LIKE = either(
    seq(unless(phrase("a|an")), phrase("the?"), NAMES),
    seq(phrase("a|an"), followed_by(_OF_PICTURES), NAMES),
)
IN_THE_STYLE = seq(phrase("in|with the|a|an"), maybe(a_word), phrase("style|manner|spirit of"))
STYLE_OF = seq(IN_THE_STYLE, LIKE)
_STYLED = check(lambda word: word.endswith(("ist", "istic", "esque", "'s")))
IN_STYLE = seq(phrase("in"), THE, up_to(3, PLAIN), either(STRONG, _STYLED), maybe(a_word), STYLE)
IN_ANY_STYLE = seq(THE, PLAIN, up_to(4, PLAIN), STYLE, end)
SOME_STYLE = seq(STYLE_TERM, up_to(8, STYLE_TERM))

_FROM_WHEN = seq(phrase("in|from the?"), either(YEAR, CENTURY, seq(a_word, CENTURY)))
_WITH_WHAT = seq(unless(IN_THE_STYLE), followed_by(phrase("in|on|with|using")), SOME_STYLE)
_IN_WHAT = seq(phrase("in|using"), PLAIN, maybe(PLAIN), MATTER)
#: What can stand between the name of a picture and what it shows: "by Monet", "on canvas", "in the style of …".
QUALIFIER = seq(maybe(MAKING), either(STYLE_OF, IN_STYLE, BY, _FROM_WHEN, _WITH_WHAT, _IN_WHAT))
_OF_THE_PICTURE = seq(up_to(3, seq(unless(phrase("in")), _NO_TURN_WORD)), listed("of the picture"))
#: "A painting with a boat" shows one; "a painting with a frame" has one.
WITH = seq(phrase("with"), unless(style_to_end), unless(_OF_THE_PICTURE))
SAYS = either(phrase("of"), SHOWING)
_THIS_PICTURE = either(phrase("this|that|it|here|there"), seq(phrase("this|the"), SHOWING_MEDIUM))
THIS_IS = either(seq(_THIS_PICTURE, phrase("is")), phrase("that's|it's|here's|there's"))
_VIEW = seq(phrase("beautiful|scenic?"), phrase("view"))
NAME_OF_PICTURE = either(seq(MODIFIERS, MEDIUM), seq(MODIFIERS, STRONG, WEAK), _VIEW)
_HAS_OR_SHOWS = seq(MODIFIERS, SHOWING_MEDIUM, up_to(2, QUALIFIER), either(SAYS, WITH))
#: The beginning of a sentence, up to what is shown: "|this is a painting by Monet of |a bridge".
HEAD = seq(maybe(THIS_IS), A, either(_HAS_OR_SHOWS, seq(NAME_OF_PICTURE, up_to(2, QUALIFIER), SAYS)))
IT_SHOWS = seq(phrase("it"), listed("shows"))
MEDIUM_OF = seq(up_to(4, STRONG), MEDIUM, followed_by(phrase("of")))

#: In front of a style these say how the thing itself was made.
OF_THE_THING = listed("of the thing")
#: What is all words of style and a thing: "a neon sign in a street", "a pencil on paper".
AT_A_PLACE = seq(phrase("in|on|at a|an|the"), PLACES)
A_TOOL = seq(phrase("a|an"), listed("tools"))
#: In brackets behind a style these only say that it is one.
OF_A_MEDIUM = phrase("medium|media|style|technique|artist")
#: "An |anime |girl", but "a watercolor set".
COUNT = phrase("a|an|the|two|three|four|some|my|one|and")
ATTRIBUTES = seq(listed("attributes"), up_to(4, listed("attributes")))
_NO_THING = either(listed("things", "turns", "showing", "shows", "small words"), MEDIUM)
SHOWN_THING = seq(unless(_NO_THING), check(lambda word: word[:1].isalpha()))
_YEARS = re.compile(r"(?:1[3-9]|20)\d\d(?:[-–]\d{2,4}|s)?")
DATE = seq(phrase("c|ca|circa?"), check(lambda word: _YEARS.fullmatch(word) is not None), end)

_AFTER = either(phrase("inspired by"), phrase("reminiscent of"), phrase("after"), phrase("à|a la"))
_MATTER_NEXT = followed_by(seq(up_to(3, a_word), MATTER))
#: Anywhere in a part, up to its end or to where content goes on.
SPANS: tuple[Rule, ...] = (
    _rule("a fox |drawn in the style of Dürer|", maybe(MAKING), IN_THE_STYLE, NO_TURN),
    _rule("a fox |in the style of Picasso |running uphill", maybe(MAKING), STYLE_OF, followed_by(TURN)),
    _rule("a fox |in a loose comic style|", maybe(MAKING), phrase("in"), IN_ANY_STYLE),
    _rule("a fox |in art nouveau style |holding a lily", maybe(MAKING), IN_STYLE, followed_by(TURN)),
    _rule("a fox |rendered with thick outlines|", MAKING, phrase("in|with|as|on|of|using"), style_to_end),
    _rule("a fox |in charcoal|", phrase("in|as"), style_to_end),
    _rule(
        "a fox |painted in thick oil |near a river",
        seq(
            DRAWN, phrase("in|with|using"), _MATTER_NEXT, SOME_STYLE, unless(phrase("on")), followed_by(TURN)
        ),
    ),
    _rule("a fox|, an oil painting by Anna Lund|", A, up_to(4, STRONG), MEDIUM, BY, NO_TURN_NEXT),
    _rule(
        "a fox |painted by the great Picasso |in the rain",
        DRAWN_BY,
        up_to(3, _NO_TURN_WORD),
        ARTIST,
        UNTIL_TURN,
    ),
    _rule("a fox |by Carl Larsson and others|", phrase("by"), ARTIST, either(end, seq(phrase("and"), rest))),
    _rule("a fox |by Claude Monet |with lilies", phrase("by"), ARTIST, followed_by(TURN)),
    _rule(
        "a fox |inspired by the paintings of the Tang dynasty |wearing a hat",
        seq(_AFTER, up_to(5, _NO_TURN_WORD), either(ARTIST, MEDIUM), UNTIL_TURN),
    ),
)

_IT = seq(phrase("the|this|its?"), phrase("it|this|work|piece|art"))
_THE_STYLE = seq(phrase("style|medium|technique"), maybe(seq(phrase("of the"), MEDIUM)))
_ITS_MEDIUM = seq(phrase("the|this|its?"), MODIFIERS, either(MEDIUM, _THE_STYLE))
_IS = either(phrase("is|was|are|were"), phrase("has been"), phrase("appears to be"), phrase("looks like"))
_LIKE_NAMES = seq(phrase("similar|reminiscent|inspired|that to|of|by"), NAMES)
_ITS_MAKER = seq(phrase("the|this"), either(phrase("artist|painter|photographer|style"), MEDIUM))
_PICTURE = either(seq(maybe(THIS_IS), A, NAME_OF_PICTURE), phrase("art"), DRAWN)
_THE_ELDER = maybe(phrase("the elder|younger"))
#: Parts that are style from beginning to end.
WHOLE_PARTS: tuple[Rule, ...] = (
    _rule("a fox|, style of an old master|", phrase("style of"), rest),
    _rule("a fox|, kawaii style|", IN_ANY_STYLE),
    _rule("a fox|, charming artwork by Anna Lund|", _PICTURE, BY, NO_TURN_NEXT),
    _rule(
        "A fox. |The painting is done in watercolor.|",
        seq(either(_IT, _ITS_MEDIUM), _IS, maybe(MAKING)),
        seq(either(style_to_end, BY, STYLE_OF, IN_STYLE, _LIKE_NAMES), end),
    ),
    _rule("A fox. |The artist has used bold lines.|", _ITS_MAKER, phrase("has? used|uses|has"), style_to_end),
    _rule("|In this black and white photo, |a fox sleeps", phrase("in this|the"), MODIFIERS, MEDIUM, end),
    _rule("a fox|, with thick outlines|", maybe(MAKING), phrase("in|with|as|on|using"), style_to_end),
    _rule("a fox|, inspired by medieval art|", _AFTER, up_to(5, a_word), STRONG, rest),
    _rule("a fox|, Bruegel the Elder and others|", ARTIST, _THE_ELDER, either(end, seq(phrase("and"), rest))),
)


def may_tell_style(norms: Iterable[str]) -> bool:
    """Whether there is a word without which no rule removes anything."""
    telling = first_words(*STYLE_LISTS, "weak media", "attributes")
    return any(norm in telling or norm in ("by", "style", "manner", "view") for norm in norms)


def found_at(words: Words, i: int, rules: tuple[Rule, ...]) -> int | None:
    """Where what the first fitting rule removes from place `i` on ends; None where none fits."""
    return next((max(ends) for _, pattern in rules if (ends := pattern(words, i))), None)


def tells_style(words: Words, places: range) -> bool:
    """Whether a word of style begins in these places."""
    return any(TELLS_STYLE(words, i) for i in places)
