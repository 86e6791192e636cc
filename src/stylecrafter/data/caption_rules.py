"""What counts as words of style in captions, and where they stand.

Names in capitals are patterns. A rule is a pattern with an example, in which bars enclose what it removes.
"""

from __future__ import annotations

import re

from stylecrafter.data.caption_patterns import (
    STYLE_LISTS,
    STYLE_TERM,
    Pattern,
    Words,
    a_word,
    check,
    either,
    end,
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


def _ing(least: int, exceptions: str) -> Pattern:
    """A word in -ing behind so many letters, that is on no list."""
    return seq(unless(listed(exceptions)), check(lambda word: word[least:].endswith("ing")))


STRONG, MEDIUM, WEAK = listed(*STYLE_LISTS), listed("media"), listed("weak media")
SHOWING_MEDIUM, MATTER = listed("showing media"), listed("media", "techniques", "movements")
ARTIST, MAKERS, MAKING = listed("artists", "artists with common names"), listed("makers"), listed("making")
DRAWN, PLACES = listed("drawn"), listed("places")
DRAWN_BY = seq(either(DRAWN, phrase("art")), phrase("by"))
TELLS_STYLE = either(STRONG, phrase("style|manner"))
ARTICLE = phrase("a|an|the|my|one|this|some|another?")
PLAIN = seq(unless(listed("not describing")), a_word)
#: Up to five words that describe a medium: "a highly detailed digital …".
CLOSE_UP = either(phrase("close-up|closeup"), phrase("close up"))
DESCRIBING = seq(unless(_ing(1, "describing in -ing")), unless(CLOSE_UP), PLAIN)
MODIFIERS = up_to(
    5, seq(either(phrase("black and|& white"), phrase("pen and ink"), DESCRIBING), phrase(",?"))
)

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
#: Who made a picture. A place ("by the window", "by Lake Como") never did.
MAKER = either(
    seq(phrase("the|a|an|his|her|their|my|our|some"), up_to(3, _NO_TURN_WORD), MAKERS, maybe(NAMES)),
    ARTIST,
    seq(unless(listed("not a name", "turns")), unless(seq(up_to(4, a_word), PLACES)), NAMES),
)
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
IN_STYLE = seq(
    phrase("in the|a|an?"), up_to(3, PLAIN), either(STRONG, _STYLED), maybe(a_word), phrase("style")
)

#: What can stand between the name of a picture and what it shows: "by Monet", "on canvas", "in the style of …".
QUALIFIER = seq(
    maybe(MAKING),
    either(
        STYLE_OF,
        IN_STYLE,
        seq(phrase("by"), MAKER),
        seq(phrase("in|from the?"), either(YEAR, CENTURY, seq(a_word, CENTURY))),
        seq(unless(IN_THE_STYLE), followed_by(phrase("in|on|with|using")), STYLE_TERM, up_to(8, STYLE_TERM)),
        seq(phrase("in|using"), PLAIN, maybe(PLAIN), MATTER),
    ),
)
_OF_THE_PICTURE = seq(up_to(3, seq(unless(phrase("in")), _NO_TURN_WORD)), listed("of the picture"))
#: "A painting with a boat" shows one; "a painting with a frame" has one.
WITH = seq(phrase("with"), unless(style_to_end), unless(_OF_THE_PICTURE))
THIS_IS = either(
    phrase("this|that|it|here|there is"),
    seq(phrase("this|the"), SHOWING_MEDIUM, phrase("is")),
    phrase("that's|it's|here's|there's"),
)
NAME_OF_PICTURE = either(
    seq(MODIFIERS, MEDIUM), seq(MODIFIERS, STRONG, WEAK), seq(phrase("beautiful|scenic?"), phrase("view"))
)
SAYS = either(phrase("of"), SHOWING)
#: The beginning of a sentence, up to what is shown: "|this is a painting by Monet of |a bridge".
HEAD = seq(
    maybe(THIS_IS),
    ARTICLE,
    either(
        seq(MODIFIERS, SHOWING_MEDIUM, up_to(2, QUALIFIER), either(SAYS, WITH)),
        seq(NAME_OF_PICTURE, up_to(2, QUALIFIER), SAYS),
    ),
)
IT_SHOWS = seq(phrase("it"), listed("shows"))
MEDIUM_OF = seq(up_to(4, STRONG), MEDIUM, followed_by(phrase("of")))

#: In front of a style these say how the thing itself was made.
OF_THE_THING = listed("of the thing")
NOBODY = phrase("a|an? unknown|anonymous")
NOT_A_NAME = listed("not a name")
#: What these parts are made of can be style, and is a thing: "a neon sign in a street", "a pencil on paper".
AT_A_PLACE = seq(phrase("in|on|at a|an|the"), PLACES)
A_TOOL = seq(phrase("a|an"), listed("tools"))
#: "An |anime |girl", but "a watercolor set".
COUNT = phrase("a|an|the|two|three|four|some|my|one")
ATTRIBUTES = seq(listed("attributes"), up_to(4, listed("attributes")))
SHOWN_THING = seq(unless(either(listed("things"), MEDIUM)), check(lambda word: word[:1].isalpha()))

_AFTER = either(phrase("inspired by"), phrase("reminiscent of"), phrase("after"), phrase("à|a la"))
#: Anywhere in a part, up to its end or to where content goes on.
SPANS: tuple[Rule, ...] = (
    ("a fox |drawn in the style of Dürer|", seq(maybe(MAKING), IN_THE_STYLE, NO_TURN)),
    ("a fox |in the style of Picasso |running uphill", seq(maybe(MAKING), STYLE_OF, followed_by(TURN))),
    (
        "a fox |in a loose comic style|",
        seq(maybe(MAKING), phrase("in the|a|an?"), PLAIN, up_to(3, PLAIN), phrase("style"), end),
    ),
    ("a fox |in art nouveau style |holding a lily", seq(maybe(MAKING), IN_STYLE, followed_by(TURN))),
    ("a fox |rendered with thick outlines|", seq(MAKING, phrase("in|with|as|on|of|using"), style_to_end)),
    ("a fox |in charcoal|", seq(phrase("in|as"), style_to_end)),
    (
        "a fox |painted in thick oil |near a river",
        seq(
            seq(DRAWN, phrase("in|with|using"), followed_by(seq(up_to(3, a_word), MATTER))),
            seq(STYLE_TERM, up_to(8, STYLE_TERM), unless(phrase("on")), followed_by(TURN)),
        ),
    ),
    (
        "a fox|, an oil painting by Anna Lund|",
        seq(ARTICLE, up_to(4, STRONG), MEDIUM, phrase("by"), MAKER, NO_TURN_NEXT),
    ),
    (
        "a fox |painted by the great Picasso |in the rain",
        seq(DRAWN, phrase("by"), up_to(3, _NO_TURN_WORD), ARTIST, UNTIL_TURN),
    ),
    ("a fox |by Carl Larsson and others|", seq(phrase("by"), ARTIST, either(end, seq(phrase("and"), rest)))),
    ("a fox |by Claude Monet |with lilies", seq(phrase("by"), ARTIST, followed_by(TURN))),
    (
        "a fox |inspired by the paintings of the Tang dynasty |wearing a hat",
        seq(_AFTER, up_to(5, _NO_TURN_WORD), either(ARTIST, MEDIUM), UNTIL_TURN),
    ),
)

_IT = seq(phrase("the|this|its?"), phrase("it|this|work|piece|art"))
_ITS_MEDIUM = seq(
    phrase("the|this|its?"),
    MODIFIERS,
    either(MEDIUM, phrase("style|medium|technique"), seq(phrase("style|medium|technique of the"), MEDIUM)),
)
_IS = either(phrase("is|was|are|were"), phrase("has been"), phrase("appears to be"), phrase("looks like"))
_RESEMBLES = phrase("similar|reminiscent|inspired|that to|of|by")
#: Parts that are style from beginning to end.
WHOLE_PARTS: tuple[Rule, ...] = (
    ("a fox|, style of an old master|", seq(phrase("style of"), rest)),
    ("a fox|, kawaii style|", seq(phrase("the|a|an?"), PLAIN, up_to(4, PLAIN), phrase("style"), end)),
    (
        "a fox|, charming artwork by Anna Lund|",
        seq(
            either(seq(maybe(THIS_IS), ARTICLE, NAME_OF_PICTURE), phrase("art"), DRAWN),
            seq(phrase("by"), MAKER, NO_TURN_NEXT),
        ),
    ),
    (
        "A fox. |The painting is done in watercolor.|",
        seq(
            either(_IT, _ITS_MEDIUM),
            seq(_IS, maybe(MAKING)),
            either(style_to_end, seq(phrase("by"), MAKER), STYLE_OF, IN_STYLE, seq(_RESEMBLES, NAMES)),
            end,
        ),
    ),
    (
        "A fox. |The artist has used bold lines.|",
        seq(
            phrase("the|this"),
            either(phrase("artist|painter|photographer|style"), MEDIUM),
            seq(phrase("has? used|uses|has"), style_to_end),
        ),
    ),
    ("|In this black and white photo, |a fox sleeps", seq(phrase("in this|the"), MODIFIERS, MEDIUM, end)),
    ("a fox|, with thick outlines|", seq(maybe(MAKING), phrase("in|with|as|on|using"), style_to_end)),
    (
        "a fox|, inspired by medieval art|",
        seq(_AFTER, up_to(5, a_word), STRONG, rest),
    ),
    (
        "a fox|, Pieter Bruegel the Elder|",
        seq(ARTIST, either(end, seq(phrase("the elder|younger"), end), seq(phrase("and"), rest))),
    ),
)


def found_at(words: Words, i: int, rules: tuple[Rule, ...]) -> int | None:
    """Where what the first fitting rule removes from place `i` on ends; None where none fits."""
    for _, pattern in rules:
        if ends := pattern(words, i):
            return max(ends)
    return None


def tells_style(words: Words, places: range) -> bool:
    """Whether a word of style begins in these places."""
    return any(TELLS_STYLE(words, i) for i in places)
