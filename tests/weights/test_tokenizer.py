"""CLIP's tokenizer against published token ids, and its small cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer, CLIPTokenizer

from stylecrafter.weights.tokenizer import CONTEXT_LENGTH, clip_tokenizer, compact_tokenizer

START, END = 49406, 49407
# As CLIP's and OpenCLIP's own tokenizers give them.
PUBLISHED = {
    "": [],
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "A  photo\nof a CAT ": [320, 1125, 539, 320, 2368],
    "hello world!": [3306, 1002, 256],
    "wow!! ! a": [2781, 748, 256, 320],
    "dog's": [1929, 568],
}
TEXTS = [*PUBLISHED, "!", "日本", "naïve café, 3 œufs", "a <|endoftext|> b", "☃" * 5]


@pytest.fixture(scope="module")
def whole() -> CLIPTokenizer:
    return clip_tokenizer()


@pytest.fixture(scope="module")
def compact() -> CLIPTokenizer:
    return compact_tokenizer(["rocket", "sailboat"], extra_merges=64)


@pytest.mark.parametrize("text", PUBLISHED)
def test_published_ids(whole: CLIPTokenizer, text: str) -> None:
    assert whole(text).input_ids == [START, *PUBLISHED[text], END]


def test_sizes_and_marks(whole: CLIPTokenizer) -> None:
    assert len(whole) == 49408
    assert (whole.bos_token_id, whole.eos_token_id, whole.pad_token_id) == (START, END, 0)
    assert whole.model_max_length == CONTEXT_LENGTH == 77


def test_padding_is_zero_and_cutting_keeps_the_end_mark(whole: CLIPTokenizer) -> None:
    short, long = whole(["a cat!", "cat " * 200], padding="max_length", truncation=True).input_ids
    assert short == [START, 320, 2368, 256, END] + [0] * 72
    assert long == [START] + [2368] * 75 + [END]


def test_marks_in_a_text_are_only_text(whole: CLIPTokenizer, compact: CLIPTokenizer) -> None:
    for tokenizer in (whole, compact):
        ids = tokenizer("a <|endoftext|> b <|startoftext|> !").input_ids
        assert ids.count(tokenizer.eos_token_id) == ids.count(tokenizer.bos_token_id) == 1
    assert whole.pad_token_id not in whole("!").input_ids


@pytest.mark.parametrize("load", [CLIPTokenizer.from_pretrained, AutoTokenizer.from_pretrained])
@pytest.mark.parametrize("name", ["whole", "compact"])
def test_saved_and_read_again(
    name: str, load: Callable[[Path], CLIPTokenizer], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tokenizer: CLIPTokenizer = request.getfixturevalue(name)
    tokenizer.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    padded = {"padding": "max_length", "truncation": True}
    assert loaded(TEXTS, **padded).input_ids == tokenizer(TEXTS, **padded).input_ids
    assert loaded.model_max_length == tokenizer.model_max_length
    assert loaded.special_tokens_map == tokenizer.special_tokens_map


def test_compact_tokenizer_knows_its_words(whole: CLIPTokenizer, compact: CLIPTokenizer) -> None:
    assert len(compact) < 700
    for word in ("rocket", "sailboat"):
        start, *ids, end = compact(word).input_ids
        assert (start, end) == (compact.bos_token_id, compact.eos_token_id)
        assert compact.convert_ids_to_tokens(ids) == whole.tokenize(word)
    assert compact.tokenize("rocket") == ["rocket</w>"]


@pytest.mark.parametrize("text", ["submarine", "héllo ☃ 日本", "wow!!"])
def test_compact_tokenizer_spells_what_it_does_not_know(compact: CLIPTokenizer, text: str) -> None:
    ids = compact(text, add_special_tokens=False).input_ids
    assert len(ids) > 1 and compact.unk_token_id not in ids
    assert compact.decode(ids).replace(" ", "") == text.replace(" ", "")
