from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from stylecrafter.data.captions import CaptionCleaning, clean_caption

LABELLED = Path(__file__).parents[1] / "data" / "captions.jsonl"
ROWS = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]


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
        # The published patterns take this for style, which is why there is a full mode.
        ("a man holding a painting of a dog", "a dog"),
        ("a boat, oil on canvas", "a boat, oil on canvas"),
    ],
)
def test_published_patterns_as_they_are(caption: str, wanted: str) -> None:
    assert clean_caption(caption, CaptionCleaning.PUBLISHED) == wanted


@pytest.mark.parametrize(
    "text", ["", "   ", "a " * 400, "in " * 500, "painting of " * 200, "((((", ",,,;", "é" * 300]
)
@pytest.mark.parametrize("cleaning", CaptionCleaning)
def test_any_text_is_taken(text: str, cleaning: CaptionCleaning) -> None:
    assert len(clean_caption(text, cleaning)) <= len(text)


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
    ["a neon sign in a street", "a neon sign at the station", "a pencil on paper", "a marker on a desk"],
)
def test_things_made_of_words_of_style_stay(caption: str) -> None:
    assert clean_caption(caption) == caption


def test_articles_fit_what_follows() -> None:
    assert clean_caption("an anime girl with a cartoon owl") == "a girl with an owl"


def test_framing_is_content() -> None:
    assert clean_caption("a close-up photo of a bee") == "a close-up of a bee"
    assert clean_caption("an aerial view of a river") == "an aerial view of a river"
