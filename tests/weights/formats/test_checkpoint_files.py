"""Reading checkpoints from files: which forms are taken, and what is said about the others."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stylecrafter.errors import CheckpointError
from stylecrafter.weights.formats.checkpoint_files import fill, nested_tensors, read_checkpoint, tensors_only

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}


class NotPlainData:
    """Something that a checkpoint of plain data does not hold."""


def assert_same(state: object) -> None:
    assert isinstance(state, dict) and state.keys() == TENSORS.keys()
    assert all(torch.equal(state[key], TENSORS[key]) for key in TENSORS)


def test_forms_that_are_read(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "plain.pth")
    torch.save({"state_dict": TENSORS, "epoch": 3}, tmp_path / "nested.ckpt")
    torch.save(TENSORS, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    save_file(TENSORS, tmp_path / "new.safetensors")
    for name in ("plain.pth", "nested.ckpt", "old.bin", "new.safetensors"):
        assert_same(tensors_only(read_checkpoint(tmp_path / name, "model"), "model"))
        assert_same(tensors_only(read_checkpoint(str(tmp_path / name), "model"), "model"))
    assert_same(tensors_only(read_checkpoint({"state_dict": {"state_dict": TENSORS}}, "model"), "model"))


def test_files_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "text.safetensors").write_text("not a checkpoint")
    (tmp_path / "word.pth").write_bytes(b"text")
    (tmp_path / "empty.pth").touch()
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({}, tmp_path / "nothing.pth")
    torch.save(TENSORS, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:-200])
    for name in (
        "text.pth",
        "word.pth",
        "text.safetensors",
        "empty.pth",
        "list.pth",
        "nothing.pth",
        "cut.pth",
    ):
        with pytest.raises(CheckpointError, match="^adapter: ") as caught:
            read_checkpoint(tmp_path / name, "adapter")
        assert "\n" not in str(caught.value)
    for name, says in (("absent.pth", "no such file"), ("", "is a folder")):
        with pytest.raises(CheckpointError, match=f"adapter: .*{says}"):
            read_checkpoint(tmp_path / name, "adapter")


def test_files_that_could_run_code_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": TENSORS, "callback": NotPlainData()}, tmp_path / "objects.ckpt")
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps(NotPlainData(), protocol=2))
    for name in ("objects.ckpt", "pickle.ckpt"):
        with pytest.raises(CheckpointError, match="files with other objects are refused"):
            read_checkpoint(tmp_path / name, "model")


def test_values_that_are_no_tensors_are_named() -> None:
    with pytest.raises(CheckpointError, match=r"adapter: 1 tensor \(step \(int\)\) not tensors"):
        tensors_only(TENSORS | {"step": 3}, "adapter")


def test_nested_and_flat_modules_are_the_same() -> None:
    nested = {"m.0": {"x": torch.ones(1)}, "m.1": {"x": torch.zeros(1), "y.z": torch.ones(2)}}
    flat = {f"{module}.{key}": value for module, state in nested.items() for key, value in state.items()}
    assert nested_tensors(nested, ["m.0", "m.1"], "temporal").keys() == flat.keys()
    assert nested_tensors(flat, ["m.0", "m.1"], "temporal").keys() == flat.keys()
    with pytest.raises(CheckpointError, match=r"1 module \(m.2\) missing, 1 tensor \(m.0.x\) unknown"):
        nested_tensors(nested, ["m.1", "m.2"], "temporal")


def test_filled_models_own_their_weights_in_float32() -> None:
    given = {"weight": torch.ones(2, 3, dtype=torch.float16), "bias": torch.zeros(2)}
    copied, shared = nn.Linear(3, 2, device="meta"), nn.Linear(3, 2, device="meta")
    fill(copied, given, "layer", copy=True)
    fill(shared, given, "layer", copy=False)
    assert copied.weight.dtype == torch.float32
    with torch.no_grad():
        copied.bias.fill_(5)
        assert not given["bias"].any()
        shared.bias.fill_(5)
    assert given["bias"].all()
