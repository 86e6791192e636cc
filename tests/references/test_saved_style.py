"""Files of styles: what goes in comes out, the same style is the same bytes, and whatever else there is is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from stylecrafter.errors import ImageReadError
from stylecrafter.media.images import read_picture
from stylecrafter.references.saved_style import (
    FORMAT,
    MAX_BYTES,
    About,
    is_style_file,
    read_style,
    sources_of,
    style_bytes,
)
from tests.tiny import tiny_picture

TOKENS = np.arange(12, dtype=np.float32).reshape(3, 4)
PRINT = np.ones((5, 2))
WORDS: dict[str, Any] = {"version": "1", "adapter": "toy", "encoder": "CLIP", "corners": False, "sources": []}


def contents(count: int = 2) -> bytes:
    pictures = [read_picture(tiny_picture(i, 40, 30)) for i in range(count)]
    about = About(adapter="toy", encoder="CLIP", corners=True, sources=sources_of(pictures, [1.0] * count))
    return style_bytes(TOKENS, PRINT, [picture.image for picture in pictures], about)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "blue ink.safetensors"
    path.write_bytes(contents())
    assert path.read_bytes() == contents() and len(contents()) < 32_000
    found = read_style(path)
    assert np.array_equal(found.tokens, TOKENS) and np.array_equal(found.fingerprint, PRINT)
    assert (found.name, found.about.adapter, found.about.corners) == ("blue ink.safetensors", "toy", True)
    assert [source.weight for source in found.about.sources] == [1.0, 1.0]
    assert found.picture().size == (256, 128)
    assert is_style_file(path) and not is_style_file(tmp_path / "missing")


def test_a_thumbnail_shows_the_first_four(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(contents(6))
    assert read_style(path).picture().size == (512, 128) and len(read_style(path).about.sources) == 6


def made(words: Any = WORDS, **changes: Any) -> bytes:
    """A style file in which something is different; None leaves a tensor out."""
    tensors = {
        "style_tokens": TOKENS,
        "adapter_fingerprint": PRINT,
        "thumbnail": np.zeros(9, np.uint8),
    } | changes
    told = {FORMAT: words if isinstance(words, str) else json.dumps(words)}
    return safetensors.numpy.save({k: v for k, v in tensors.items() if v is not None}, told)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no complete safetensors file"),
        (b"no tensors", "no complete safetensors file"),
        (contents()[:-10], "no complete safetensors file"),
        (bytes(MAX_BYTES + 1), "too large"),
        (safetensors.numpy.save({"style_tokens": TOKENS}), "no style: `stylecrafter style save` writes"),
        (safetensors.numpy.save({"a": TOKENS}, {"format": "pt"}), "no style"),
        (made("{"), "not JSON"),
        (made([]), "format version None"),
        (made({**WORDS, "version": "2"}), "format version 2, and this version of StyleCrafter reads 1"),
        (made({**WORDS, "adapter": 3}), r"what it is of \(adapter\)"),
        (made({**WORDS, "sources": [{"name": "a"}]}), r"what it is of \(sources\)"),
        (made({**WORDS, "sources": [{"name": "a", "sha256": "0", "weight": -1}]}), r"\(sources\)"),
        (made(style_tokens=None), "its style_tokens must be float32 with 2 axes, not missing"),
        (made(style_tokens=TOKENS[0]), r"not float32 \(4,\)"),
        (made(style_tokens=TOKENS.astype(np.float64)), "not float64"),
        (made(style_tokens=TOKENS[:0]), r"not float32 \(0, 4\)"),
        (made(style_tokens=TOKENS * np.float32("nan")), "its style_tokens holds numbers that are not finite"),
        (made(adapter_fingerprint=PRINT * np.inf), "adapter_fingerprint holds numbers that are not finite"),
        (made(more=TOKENS), "holds what no style has: more"),
    ],
)
def test_what_is_no_style(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ImageReadError, match=says):
        read_style(path)


def test_a_damaged_thumbnail_harms_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(made())
    found = read_style(path)
    with pytest.raises(ImageReadError, match="the thumbnail in .*a.safetensors"):
        found.picture()
