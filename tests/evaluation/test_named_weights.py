from __future__ import annotations

import json
from pathlib import Path

import pytest

from stylecrafter.errors import CheckpointError
from stylecrafter.evaluation.named_weights import check_encoder, check_files


def clip(source: object) -> None:
    check_encoder(str(source), "--clip", "CLIP", "clip")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (None, "holds no config.json"),
        ("not json", "not JSON"),
        ("[]", "model type None, not 'clip'"),
        ('{"model_type": "clip_vision_model"}', "model type 'clip_vision_model', not 'clip'"),
    ],
)
def test_folders_that_are_no_clip(tmp_path: Path, config: str | None, says: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=says):
        clip(tmp_path)


def test_pipelines_files_and_names_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(CheckpointError, match=f"--clip {tmp_path} is a pipeline"):
        clip(tmp_path)
    pointer = tmp_path / "clip.pt"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="is a Git LFS pointer.*, not a folder"):
        clip(pointer)
    for name in ("mini_", "", "a/b/c", "/no/such", "~nobody/x", "a\0b", "x" * 5000):
        with pytest.raises(CheckpointError, match="there is no such folder, and a hub id is OWNER/NAME"):
            clip(name)


def test_what_may_be_an_encoder_passes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    clip(tmp_path)
    clip("laion/CLIP-ViT-H-14-laion2B-s32B-b79K")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    check_encoder(str(tmp_path), "--dino", "DINO")


def test_files(tmp_path: Path) -> None:
    (tmp_path / "csd.pth").touch()
    check_files({"--csd": tmp_path / "csd.pth", "--raft": None})
    with pytest.raises(CheckpointError, match=r"--raft .*no\.pth: there is no such file"):
        check_files({"--csd": tmp_path / "csd.pth", "--raft": tmp_path / "no.pth"})
