from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stylecrafter.weights import locate
from tests.cli.support import assert_one_line_error, invoke
from tests.tiny import tiny_wan_pipeline


def test_embedded_models_and_their_world(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model, tmp_path / "pocket")
    (tmp_path / "pocket" / "README.md").write_text("---\nlicense: apache-2.0\n---\nA toy.\n")
    (tmp_path / "pocket" / "world.json").write_text(
        json.dumps({"objects": ["fox", "boat"], "styles": ["ink"]})
    )
    monkeypatch.setattr(locate, "EMBEDDED_ROOT", tmp_path)
    listing = invoke("models").stdout
    assert listing.startswith("pocket  3 frames of 24x16") and "apache-2.0" in listing
    card = invoke("models", "pocket").stdout
    for words in ("A toy.", "fox, boat", "ink", "apache-2.0", "multiples of 4", str(tmp_path / "pocket")):
        assert words in card
    assert_one_line_error(invoke("models", "poket"), "Did you mean 'pocket'?")


def test_a_folder(model: Path) -> None:
    result = invoke("models", model)
    assert result.exit_code == 0
    assert "3 frames of 24x16" in result.stdout and "not stated" in result.stdout


def test_a_saved_model_whose_denoiser_is_a_transformer(tmp_path: Path) -> None:
    tiny_wan_pipeline().save_pretrained(tmp_path)
    result = invoke("models", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "a whole model, Wan 2.1" in result.stdout and "default frames" in result.stdout


def test_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "EMBEDDED_ROOT", tmp_path)
    result = invoke("models")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no model comes with this installation" in result.stderr
