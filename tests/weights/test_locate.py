from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stylecrafter.errors import CheckpointError, InvalidInputError, UnknownNameError
from stylecrafter.weights import locate
from stylecrafter.weights.card import check_size, read_card, size_multiple
from stylecrafter.weights.locate import fetch_model, list_models, resolve_model, weights_hash


def make_model(folder: Path, value: float = 0.0) -> Path:
    for part, levels in (("unet", [32, 64]), ("vae", [8, 8, 8, 8])):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps({"block_out_channels": levels}))
        save_file({"w": torch.full((3,), value)}, folder / part / "model.safetensors")
    index = {"_class_name": "StyleCrafterPipeline", "default_num_frames": 16, "unet": ["stylecrafter", "X"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(tmp_path / "any name at all")
    assert resolve_model(tmp_path / "any name at all") == str(tmp_path / "any name at all")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("any name at all") == str(tmp_path / "any name at all")
    assert fetch_model("any name at all") == tmp_path / "any name at all"


def test_hub_id_is_passed_on() -> None:
    assert resolve_model("some-one/some.model_2") == "some-one/some.model_2"


def test_embedded_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "EMBEDDED_ROOT", tmp_path)
    assert list_models() == []
    make_model(tmp_path / "pocket")
    (tmp_path / "other").mkdir()
    assert [model.name for model in list_models()] == ["pocket"]
    assert resolve_model("pocket") == str(tmp_path / "pocket")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'pocket'\?.*stylecrafter models"):
        resolve_model("poket")


@pytest.mark.parametrize("name", ["", "nowhere", "./nowhere", "a/b/c", "../x/y"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(InvalidInputError, match="stylecrafter"):
        resolve_model(name)


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no model_index\.json.*stylecrafter convert"):
        resolve_model(tmp_path)
    make_model(tmp_path / "inside")
    with pytest.raises(CheckpointError, match="inside"):
        resolve_model(tmp_path)
    for content in ("", "[]", "{}", '{"_class_name": 3}'):
        (tmp_path / "model_index.json").write_text(content)
        with pytest.raises(CheckpointError, match="damaged"):
            resolve_model(tmp_path)


def test_checkpoint_file_points_to_convert(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="stylecrafter convert"):
        resolve_model(tmp_path / "model.ckpt")


def test_hub_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="could not be fetched") as caught:
        fetch_model("nobody/no-such-model")
    assert "\n" not in str(caught.value)


def test_weights_hash_follows_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_model(tmp_path / "a")
    assert weights_hash(first) == weights_hash(make_model(tmp_path / "b"))
    assert weights_hash(first) != weights_hash(make_model(tmp_path / "c", value=1.0))
    (first / "README.md").write_text("words do not matter")
    assert weights_hash(first) == weights_hash(tmp_path / "b")

    monkeypatch.setattr(locate, "_CACHE_FROM_BYTES", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain = weights_hash(tmp_path / "b")
    assert weights_hash(first) == plain
    remembered = tmp_path / "cache" / "stylecrafter" / "hashes.json"
    assert len(json.loads(remembered.read_text())) == 4
    remembered.write_text("damaged")
    assert weights_hash(first) == plain
    file = first / "unet" / "model.safetensors"
    save_file({"w": torch.full((3,), 5.0)}, file)
    os.utime(file, ns=(1, 1))
    assert weights_hash(first) != plain


def test_card(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "a")
    card = read_card(folder)
    assert (card.name, card.license, card.summary, card.world) == ("a", "not stated", "", {})
    (folder / "README.md").write_text(
        "---\nlicense: apache-2.0\n---\n# Title\n\nDraws small\nthings.\n\nMore.\n"
    )
    (folder / "world.json").write_text(json.dumps({"objects": ["fox"], "styles": {"ink": 1}, "version": 2}))
    card = read_card(folder, "pocket")
    assert (card.name, card.license, card.summary) == ("pocket", "apache-2.0", "Draws small things.")
    assert card.world == {"objects": ["fox"], "styles": ["ink"]}
    assert card.parameters == 6
    assert card.size_multiple == size_multiple(folder) == 16
    assert card.defaults == {"default_num_frames": 16}


def test_check_size_names_the_nearest() -> None:
    check_size(64, 128, 16)
    with pytest.raises(InvalidInputError, match=r"multiples of 16\. Nearest: 96x64 or 112x64\."):
        check_size(100, 64, 16)
    with pytest.raises(InvalidInputError, match=r"Nearest: 16x16\."):
        check_size(0, -5, 16)
