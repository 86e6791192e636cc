"""CLIP's tokenizer, whole and cut, against CLIP's published ids."""

from __future__ import annotations

import pytest
from transformers import CLIPTokenizer

from stylecrafter.weights.tokenizer import clip_tokenizer, compact_tokenizer


@pytest.fixture(scope="module")
def whole() -> CLIPTokenizer:
    return clip_tokenizer()


@pytest.fixture(scope="module")
def compact() -> CLIPTokenizer:
    return compact_tokenizer(["photo", "cat"], extra_merges=64)


def padded(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    return tokenizer(text, padding="max_length", truncation=True).input_ids


def test_published_ids(whole: CLIPTokenizer) -> None:
    assert len(whole) == 49408
    assert whole("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert whole("").input_ids == [49406, 49407]


def test_texts_are_padded_with_zero_after_the_end(whole: CLIPTokenizer) -> None:
    assert padded(whole, "a photo of a cat") == [49406, 320, 1125, 539, 320, 2368, 49407] + [0] * 70
    assert padded(whole, "") == [49406, 49407] + [0] * 75


def test_long_texts_keep_their_end_mark(whole: CLIPTokenizer) -> None:
    ids = padded(whole, "cat " * 100)
    assert ids == [49406] + [2368] * 75 + [49407]


def test_case_and_spaces_do_not_matter(whole: CLIPTokenizer) -> None:
    assert whole("A  Photo\nof a CAT ").input_ids == whole("a photo of a cat").input_ids


def test_any_text_comes_back(whole: CLIPTokenizer, compact: CLIPTokenizer) -> None:
    text = "straße, 東京 & a 🦊!"
    for tokenizer in (whole, compact):
        decoded = tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)
        assert decoded.replace(" ", "") == text.replace(" ", "")


def test_the_compact_one_holds_its_words_whole_and_others_in_pieces(compact: CLIPTokenizer) -> None:
    assert len(compact) < 1000
    assert compact.tokenize("photo cat") == ["photo</w>", "cat</w>"]
    assert len(compact.tokenize("dog")) > 1
    assert compact.unk_token_id not in compact("dog", add_special_tokens=False).input_ids


def test_the_compact_one_pads_with_its_end_mark(compact: CLIPTokenizer) -> None:
    ids = padded(compact, "cat")
    assert len(ids) == 77
    assert ids[0] == compact.bos_token_id
    assert ids[2:] == [compact.eos_token_id] * 75


def test_saving_changes_nothing(whole: CLIPTokenizer, compact: CLIPTokenizer, tmp_path) -> None:
    for name, tokenizer in (("whole", whole), ("compact", compact)):
        tokenizer.save_pretrained(tmp_path / name)
        loaded = CLIPTokenizer.from_pretrained(tmp_path / name)
        for text in ("a photo of a cat", "", "zebra, zebra"):
            assert padded(loaded, text) == padded(tokenizer, text)
        assert loaded.model_max_length == tokenizer.model_max_length == 77


def test_exclamation_marks_are_not_padding(whole: CLIPTokenizer, tmp_path) -> None:
    """Token 0, the padding, is "!" inside a word; at its end it is 256, and "!!" is 748."""
    whole.save_pretrained(tmp_path)
    for tokenizer in (whole, CLIPTokenizer.from_pretrained(tmp_path)):
        assert tokenizer("hello world!").input_ids == [49406, 3306, 1002, 256, 49407]
        assert tokenizer("wow!! ! a").input_ids == [49406, 2781, 748, 256, 320, 49407]


def test_marks_in_a_text_are_only_text(whole: CLIPTokenizer, compact: CLIPTokenizer) -> None:
    for tokenizer in (whole, compact):
        ids = tokenizer("a <|endoftext|> b <|startoftext|> c").input_ids
        assert ids.count(tokenizer.eos_token_id) == ids.count(tokenizer.bos_token_id) == 1
