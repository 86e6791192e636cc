from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stylecrafter.data import caption_patterns, captions, decoupling
from stylecrafter.data.caption_patterns import Pattern, Words
from stylecrafter.data.caption_rules import SPANS, WHOLE_PARTS
from stylecrafter.data.caption_text import tokenize
from stylecrafter.data.captions import CaptionCleaning, clean_caption, find_cleaning, read_recipe_captions
from stylecrafter.data.style_words import style_words
from stylecrafter.errors import UnknownNameError

LABELLED = Path(__file__).parents[1] / "data" / "captions.jsonl"
ROWS = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]

#: Pieces in which the published patterns can find something.
IN_PUBLISHED = [
    "in ",
    "a ",
    "painting",
    "photograph",
    "digital art",
    " of ",
    "view ",
    " ",
    "  ",
    "rain ",
    ", ",
    " - ",
    "IN ",
    "x",
]
#: What can be said again and again to no end.
REPEATED = """art by and /in the style of /(((((/, , ,/a painting of /by Anna Lund /in anime style /in the oil and
is it this /:1./<a/a.b./..../a /in a photo /oil (/[oil|/-/that shows /painted in thick oil near /It shows ink. /é/'
a very old highly detailed digital /1girl, (outdoors), /inspired by a /drawn in the style of a comic book with """
REPEATED = [*REPEATED.replace("\n", "/").split("/"), "\n", "\u00a0", "/"]


def words(text: str) -> Counter[str]:
    """Words in lower case; "an" counts as "a", since removing a word can change the article."""
    found = re.findall(r"[\w'’-]+", text.lower())
    return Counter("a" if word == "an" else word for word in found)


@dataclass
class Score:
    precision: float
    recall: float
    exact: float


def score(rows: list[dict[str, str]], cleaning: CaptionCleaning) -> Score:
    """Of the removed words, how many are labelled as style; of the labelled, how many are removed; equal captions."""
    right = removed = labelled = exact = 0
    for row in rows:
        cleaned = clean_caption(row["caption"], cleaning)
        before = words(row["caption"])
        gone, style = before - words(cleaned), before - words(row["wanted"])
        right += (gone & style).total()
        removed += gone.total()
        labelled += style.total()
        exact += cleaned.lower() == row["wanted"].lower()
    return Score(right / removed, right / labelled, exact / len(rows))


def half(name: str) -> list[dict[str, str]]:
    return [row for row in ROWS if row["half"] == name]


def test_the_list_is_large_and_holds_captions_without_style() -> None:
    assert len(ROWS) >= 320
    assert len({row["caption"] for row in ROWS}) == len(ROWS)
    plain = sum(row["caption"] == row["wanted"] for row in ROWS) / len(ROWS)
    assert 0.2 < plain < 0.35
    assert abs(len(half("development")) - len(half("held-out"))) <= 2
    # Written later, of shapes that the first list lacked; a third of them was only measured.
    assert len(half("second development")) == 2 * len(half("second held-out")) == 76


@pytest.mark.parametrize(
    ("name", "cleaning", "least"),
    [
        ("development", CaptionCleaning.PUBLISHED, Score(0.90, 0.29, 0.41)),
        ("held-out", CaptionCleaning.PUBLISHED, Score(0.84, 0.30, 0.41)),
        ("development", CaptionCleaning.DECOUPLE, Score(0.99, 0.98, 0.97)),
        ("held-out", CaptionCleaning.DECOUPLE, Score(0.98, 0.97, 0.96)),
        ("second development", CaptionCleaning.DECOUPLE, Score(0.99, 0.99, 0.98)),
        ("second held-out", CaptionCleaning.DECOUPLE, Score(0.99, 0.94, 0.97)),
    ],
)
def test_precision_and_recall(name: str, cleaning: CaptionCleaning, least: Score) -> None:
    found = score(half(name), cleaning)
    assert found.precision >= least.precision, found
    assert found.recall >= least.recall, found
    assert found.exact >= least.exact, found


def test_content_is_never_touched_in_captions_without_style() -> None:
    plain = [row["caption"] for row in ROWS if row["caption"] == row["wanted"]]
    damaged = [text for text in plain if clean_caption(text) != text]
    assert len(damaged) <= len(plain) // 50, damaged


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("a painting of a boat", "a boat"),
        ("a very old oil painting of a photo of a boat", "a boat"),
        ("a photo of a hill in a watercolor", "a hill"),
        ("digital art - a boat", "a boat"),
        # The published patterns take this for style, which is why there is another mode.
        ("a man holding a painting of a dog", "a dog"),
        ("a boat, oil on canvas", "a boat, oil on canvas"),
    ],
)
def test_published_patterns_as_they_are(caption: str, wanted: str) -> None:
    assert clean_caption(caption, CaptionCleaning.PUBLISHED) == wanted


WORDS = "1girl solo long_hair outdoors rain fox hat red Paris in on with of and is near a the 16 犬 雪山 kůň".split()
SIGNS = [*",;|:.!?-–—()[]{}<>\"'“”’*&+/~_=#@%\n\t\u00a0\u3000", ", ", " - ", ": ", "...", ", ,", "  "]
PROMPTS = """by night/by the sea/(rain:1.2)/((fox))/<lora:x:1>/[snow|rain]/--ar 16:9/🦊/👩‍🚀/St./J./{hat}
\\(hat\\)""".replace("\n", "/").split("/")
PLAIN = st.lists(st.sampled_from([*WORDS, *SIGNS, *PROMPTS]), max_size=25)
CONTENT = PLAIN.map(" ".join) | PLAIN.map("".join)
STYLE = """a painting of/an anime/in the style of/Claude Monet/by Anna Lund/oil on canvas/in cartoon style/art by/photo
drawn/with thick outlines/it shows/depicting/1890/close-up""".replace("\n", "/").split("/")
ANY = st.lists(st.sampled_from([*STYLE, *WORDS, *SIGNS, *PROMPTS]), max_size=16).map(" ".join)
#: The same texts in every run.
TRIED = settings(deadline=None, derandomize=True, max_examples=400)


@given(CONTENT)
@example("1girl, solo (outdoors), rain")
@example(" a fox ,  a hat .\n")
@example(", of a fox (")
@TRIED
@pytest.mark.parametrize("cleaning", CaptionCleaning)
def test_what_has_no_style_comes_out_as_it_went_in(cleaning: CaptionCleaning, text: str) -> None:
    assert clean_caption(text, cleaning) == text


@given(st.text(max_size=60))
@TRIED
def test_any_text_is_taken(text: str) -> None:
    said = {word for phrases in style_words().values() for phrase in phrases for word in phrase.split()}
    assume(not said & set(re.findall(r"[\w&-]+", text.lower())))
    assert clean_caption(text) == text


@given(ANY)
@TRIED
def test_cleaning_any_text_twice_changes_nothing(text: str) -> None:
    once = clean_caption(text)
    assert clean_caption(once) == once
    assert not words(once) - words(text)


@given(CONTENT, CONTENT)
@TRIED
def test_only_what_touches_the_style_changes(before: str, behind: str) -> None:
    """Two captions as neighbours of a sentence that is style alone."""
    before, behind = f"A fox {before.strip()} sleeps.", f"A hat {behind.strip()} lies"
    assert clean_caption(f"{before} Oil on canvas. {behind}") == f"{before} {behind}"


@pytest.mark.parametrize("text", REPEATED)
def test_time_is_linear(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in looks at a word, which depends on nothing but the text."""
    looks = Counter[str]()

    class Counted(caption_patterns.Words):
        def __getitem__(self, at: Any) -> Any:
            looks[text] += 1
            return super().__getitem__(at)

    monkeypatch.setattr(decoupling, "Words", Counted)

    def cost(repeats: int) -> float:
        looks.clear()
        assert len(clean_caption(text * repeats)) <= len(text) * repeats
        return looks.total() + len(text) * repeats

    repeats = -(-600 // len(text))
    assert cost(repeats * 10) <= 12 * cost(repeats)


@pytest.mark.parametrize("text", [*REPEATED, "in ", "in a ", "photo of ", "in painting "])
@pytest.mark.parametrize(
    ("cleaning", "length"), [(CaptionCleaning.PUBLISHED, 100_000), (CaptionCleaning.DECOUPLE, 2_000)]
)
def test_long_texts_take_no_time(text: str, cleaning: CaptionCleaning, length: int) -> None:
    """Bounds far above what they take, and far below what reading on from every word takes."""
    begun = time.process_time()
    clean_caption(text * (length // len(text)), cleaning)
    assert time.process_time() - begun < 5


@pytest.mark.process
def test_nothing_is_read_before_it_is_needed() -> None:
    code = (
        "import stylecrafter.data.captions; from stylecrafter.data.style_words import style_words;"
        "print(style_words.cache_info().currsize)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "0"


@pytest.mark.parametrize(
    ("example", "pattern"), [*SPANS, *WHOLE_PARTS], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_rule_does_what_its_example_says(example: str, pattern: Pattern) -> None:
    removed = example.split("|")[1]
    whole = Words(token.norm for token in tokenize(example.replace("|", "")))
    assert clean_caption(example.replace("|", "")) == "".join(example.split("|")[::2]).strip()
    assert any(pattern(whole, i) for i in range(len(whole))), "another rule does it"
    assert removed


@given(st.lists(st.sampled_from(IN_PUBLISHED), max_size=14).map("".join))
@TRIED
def test_the_published_patterns_are_the_published_ones(text: str) -> None:
    """Against the regular expressions themselves, which are slow on long captions."""
    kinds = "painting|drawing|mural|artwork|view|portrait|photo|photograph|watercolor|illustration|picture|digital art"
    expected = text
    for pattern in (
        rf"^((a )?(\w+\s+)*(?:{kinds}) of )+",
        rf"in (a )?(\w+\s+)*(?:{kinds})\s?",
        r"^(?:painting|photograph|digital art|black and white photograph) - ",
    ):
        expected = re.sub(pattern, "", expected, flags=re.IGNORECASE)
    cleaned = clean_caption(text, CaptionCleaning.PUBLISHED)
    assert cleaned == (text if expected == text else " ".join(expected.split()))


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("1girl, solo (outdoors), rain, anime style", "1girl, solo (outdoors), rain"),
        ("masterpiece, best quality, 1girl, (rain:1.2)", "1girl, (rain:1.2)"),
        ("(masterpiece:1.4), ((best quality)), 1girl", "1girl"),
        ("a fox (oil on canvas), a hat", "a fox, a hat"),
        ("a fox (oil on canvas, asleep), a hat", "a fox (asleep), a hat"),
        ("a fox (asleep, oil on canvas) in the snow", "a fox (asleep) in the snow"),
        ("oil on canvas | a fox | a hat", "a fox | a hat"),
        ("a fox - oil on canvas - a hat", "a fox - a hat"),
        ("a fox,oil on canvas,a hat", "a fox,a hat"),
        ("a fox,  a hat,  oil on canvas", "a fox,  a hat"),
        ("a \"fox\", 'oil on canvas'", 'a "fox"'),
        ("[anime style|oil painting] a fox", "a fox"),
        ("a fox, 1890", "a fox, 1890"),
        ("a fox, oil on canvas, 1890", "a fox"),
        ("a song signed by John Smith", "a song signed by John Smith"),
        ("a hut by St. Moritz", "a hut by St. Moritz"),
        ("a fox, by dark water", "a fox, by dark water"),
        ("a fox followed by John Smith", "a fox followed by John Smith"),
        ("a fox, in old street", "a fox, in old street"),
        ("1girl | oil painting | rain", "1girl | rain"),
        ("1girl, watercolor (medium), rain", "1girl, rain"),
        ("watercolor (medium), 1girl", "1girl"),
        (r"1girl, watercolor \(medium\), saber \(fate\)", r"1girl, saber \(fate\)"),
        ("1girl, photo (object), sketch, rain", "1girl, photo (object), rain"),
        (r"1girl, painting \(object\), rain", r"1girl, painting \(object\), rain"),
        ('"a fox in the style of Monet"', '"a fox"'),
        ("“A painting of a fox.”", "“a fox.”"),
        (' "A fox, oil on canvas" ', ' "A fox" '),
    ],
)
def test_only_separators_of_what_is_removed_go(caption: str, wanted: str) -> None:
    assert clean_caption(caption) == wanted


def test_what_shows_something_is_never_emptied() -> None:
    assert not [row["caption"] for row in ROWS if row["wanted"] and not clean_caption(row["caption"])]


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("A dog barks. Oil on canvas. A cat sleeps.", "A dog barks. A cat sleeps."),
        ("This is an oil painting by Claude Monet. It shows a bridge.", "a bridge."),
        ("a dog barks . oil on canvas .", "a dog barks."),
        ("A painting by Hopper, depicting four people in a diner.", "four people in a diner."),
        ("A cat sleeps. The image shows a kitchen.", "A cat sleeps. A kitchen."),
        ("It is dark. A dog barks.", "It is dark. A dog barks."),
        ("A train by J. M. W. Turner. Rain falls.", "A train. Rain falls."),
        ("A. J. Smith sits by St. Mary's Church.", "A. J. Smith sits by St. Mary's Church."),
        ("a cat is shown in a cartoon style", "a cat"),
    ],
)
def test_sentences_are_read_one_by_one(caption: str, wanted: str) -> None:
    assert clean_caption(caption) == wanted


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("a fox in the style of van gogh with thick brush strokes", "a fox"),
        ("a fox in the style of van gogh with a red scarf", "a fox with a red scarf"),
        ("A Girl in the Style of Picasso Running on the Beach", "A Girl Running on the Beach"),
        ("a sword in the style of a dragon with rubies", "a sword in the style of a dragon with rubies"),
        ("a pot made in clay standing on a shelf", "a pot made in clay standing on a shelf"),
        ("a boy holding a picture by the hand", "a boy holding a picture by the hand"),
        ("a photo from the 1920s of a street with trams", "a street with trams"),
        ("a painting with bold lines", ""),
    ],
)
def test_content_goes_on_behind_a_style(caption: str, wanted: str) -> None:
    assert clean_caption(caption) == wanted


def test_cleaning_twice_changes_nothing() -> None:
    for row in ROWS:
        once = clean_caption(row["caption"])
        assert clean_caption(once) == once


def test_caption_that_is_style_alone_becomes_empty() -> None:
    assert clean_caption("oil on canvas, 19th century") == ""


@pytest.mark.parametrize(
    "caption",
    [
        "a neon sign in a street",
        "a neon sign at the station",
        "a pencil on paper",
        "a marker on a desk",
        "a manga about a boy",
        "an anime featuring a robot",
        "a manga under a bed",
        "the cartoon has two cats",
    ],
)
def test_things_made_of_words_of_style_stay(caption: str) -> None:
    assert clean_caption(caption) == caption


def test_articles_fit_what_follows() -> None:
    assert clean_caption("an anime girl with a cartoon owl") == "a girl with an owl"


def test_framing_is_content() -> None:
    assert clean_caption("a close-up photo of a bee") == "a close-up of a bee"
    assert clean_caption("an aerial view of a river") == "an aerial view of a river"


@pytest.mark.parametrize(
    ("read", "before", "now"),
    [
        (find_cleaning, "full", "decouple"),
        (find_cleaning, "none", "keep"),
        (read_recipe_captions, "content", "decouple"),
        (read_recipe_captions, "full", "keep"),
    ],
)
def test_the_names_before_are_read_and_said_once(
    read: Callable[[str], object], before: str, now: str, caplog: pytest.LogCaptureFixture
) -> None:
    captions._say_once.cache_clear()
    assert read(before) == read(before) == read(now) == now
    (record,) = caplog.records
    assert repr(before) in record.message and repr(now) in record.message


def test_an_unknown_cleaning_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="decouple"):
        find_cleaning("decoupled")
