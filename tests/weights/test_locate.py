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
from stylecrafter.weights.locate import (
    fetch_model,
    list_models,
    resolve_model,
    same_weights,
    settings_hash,
    weights_hash,
)


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
    for content in ("damaged", "[" * 100_000, '{"a": 3}', "[1]"):
        remembered.write_text(content)
        assert weights_hash(first) == plain
    assert [file.name for file in remembered.parent.iterdir()] == ["hashes.json"]  # written in one step
    monkeypatch.setenv("XDG_CACHE_HOME", str(remembered))  # where nothing can be written
    assert weights_hash(first) == plain
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = first / "unet" / "model.safetensors"
    save_file({"w": torch.full((3,), 5.0)}, file)
    os.utime(file, ns=(1, 1))
    assert weights_hash(first) != plain


def test_weights_of_torch_files_count_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_model(tmp_path / "a")
    plain = weights_hash(folder)
    (folder / "unet" / "pytorch_model.bin").write_bytes(b"beside safetensors it is not loaded")
    assert weights_hash(folder) == plain
    (folder / "text_encoder").mkdir()
    file = folder / "text_encoder" / "pytorch_model.bin"
    file.write_bytes(b"one")
    first = weights_hash(folder)
    file.write_bytes(b"two")
    second = weights_hash(folder)
    assert len({plain, first, second}) == 3
    assert same_weights(folder, second) and same_weights(folder, None)
    assert not same_weights(folder, first) and not caplog.records
    assert same_weights(folder, plain) and "did not look at .bin" in caplog.text


def test_settings_hash_follows_what_else_decides(tmp_path: Path) -> None:
    def changed(name: str, content: str) -> bool:
        folder = make_model(tmp_path / name.replace("/", "-"))
        before = settings_hash(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
        return settings_hash(folder) != before

    assert changed("scheduler/scheduler_config.json", '{"beta_end": 0.5}')
    assert changed("tokenizer/merges.txt", "a b")
    assert changed("unet/config.json", '{"block_out_channels": [64, 64]}')
    assert not changed("README.md", "words")
    assert not changed("vae/config.json", '{"block_out_channels": [8, 8, 8, 8], "_diffusers_version": "9"}')
    assert settings_hash(make_model(tmp_path / "x", 1.0)) == settings_hash(make_model(tmp_path / "y"))


def test_weights_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "a")
    os.mkfifo(folder / "unet" / "pipe.safetensors")
    (folder / "unet" / "folder.safetensors").mkdir()
    assert weights_hash(folder) == weights_hash(make_model(tmp_path / "b"))
    (folder / "unet" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        settings_hash(folder)


@pytest.mark.parametrize(
    "name", ["~nobody-at-all", "~nobody/model", "n" * 300, "o/" + "n" * 300, "a\0b", "x\n\x1b[2Jy"]
)
def test_odd_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for home in (True, False):
        if not home:
            monkeypatch.delenv("HOME", raising=False)
        with pytest.raises(UnknownNameError, match="unknown model") as caught:
            resolve_model(name)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 600


def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    (folder / "model_index.json").unlink()
    os.mkfifo(folder / "model_index.json")
    with pytest.raises(CheckpointError, match="is damaged: .* is not a plain file"):
        resolve_model(folder)


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
