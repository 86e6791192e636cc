"""Checkpoint files are told by what they hold, and what lies about its size or never ends is refused unread."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stylecrafter.errors import CheckpointError
from stylecrafter.weights.footprint import count_parameters
from stylecrafter.weights.formats.checkpoint_files import fill, read_checkpoint
from stylecrafter.weights.headers import read_shapes
from stylecrafter.weights.tensor_files import MAX_PICKLE_BYTES, tensors_only

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}


def safetensors_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_names_do_not_matter(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "safe.pth")
    torch.save(TENSORS, tmp_path / "torch.safetensors")
    torch.save(TENSORS, tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    for name in ("safe.pth", "torch.safetensors", "old.safetensors"):
        state = read_checkpoint(tmp_path / name, "adapter")
        assert all(torch.equal(state[key], value) for key, value in TENSORS.items())


HEADERS = {
    "header of 100 GB": (100 * 2**30).to_bytes(8, "little") + b'{"a":1}',
    "header of 2 GB": (2 * 2**30).to_bytes(8, "little") + b'{"a":1}',
    "negative shape": safetensors_of(
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "more numbers than bytes": safetensors_of(
        {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "overflowing shape": safetensors_of(
        {"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "data that is not there": safetensors_of(
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(4)
    ),
    "no shape": safetensors_of({"a": {"dtype": "F32"}}),
    "a list": safetensors_of([1, 2]),
    "deep": safetensors_of(b'{"a":' * 90_000 + b"1" + b"}" * 90_000),
    "seven bytes": b"1234567",
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_headers_that_lie(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(data)
    for read in (count_parameters, read_shapes, lambda path: read_checkpoint(path, "adapter")):
        with pytest.raises(CheckpointError, match="safetensors") as caught:
            read(file)
        assert "\n" not in str(caught.value)


def test_what_is_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for path, says in (
        (tmp_path / "pipe.pth", "not a plain file"),
        ("/dev/zero", "not a plain file"),
        (tmp_path, "folder"),
    ):
        for read in (count_parameters, lambda path: read_checkpoint(path, "adapter")):
            with pytest.raises(CheckpointError, match=says):
                read(path)
    with pytest.raises(CheckpointError, match="cannot be read: File name too long"):
        read_checkpoint(tmp_path / ("n" * 300), "adapter")


@pytest.mark.parametrize(
    "first", [b"", b"\x80\x02X\xff\xff\xff\xf0", b"\x80\x04\x8d" + struct.pack("<Q", 7 * 2**30)]
)
def test_sparse_files_are_not_read_into_memory(first: bytes, tmp_path: Path) -> None:
    file = tmp_path / "sparse.ckpt"
    with open(file, "wb") as stream:
        stream.write(first)
        stream.truncate(8 * 2**30)
    with pytest.raises(CheckpointError, match=f"more than {MAX_PICKLE_BYTES:,} bytes beside|no checkpoint"):
        read_checkpoint(file, "adapter")


def test_archives_that_torch_does_not_write(tmp_path: Path) -> None:
    file = tmp_path / "bomb.pth"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(2**24))
    with pytest.raises(CheckpointError, match="is a compressed archive"):
        read_checkpoint(file, "adapter")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", bytes(MAX_PICKLE_BYTES + 1))
    with pytest.raises(CheckpointError, match="beside its tensors"):
        read_checkpoint(file, "adapter")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("words.txt", "words")
    with pytest.raises(CheckpointError, match="not one that torch has written"):
        read_checkpoint(file, "adapter")


def test_state_dicts_that_hold_themselves(tmp_path: Path) -> None:
    state: dict[str, object] = dict(TENSORS)
    state["state_dict"] = state
    torch.save(state, tmp_path / "round.pth")
    for source in (state, tmp_path / "round.pth"):
        with pytest.raises(CheckpointError, match="state_dict inside each other"):
            read_checkpoint(source, "adapter")


def test_tensors_that_are_no_plain_numbers() -> None:
    odd = {
        1: torch.ones(2),
        "complex": torch.ones(2, dtype=torch.complex64),
        "sparse": torch.ones(2).to_sparse(),
        "stretched": torch.ones(1).expand(2**30),
    }
    for name, value in odd.items():
        with pytest.raises(CheckpointError, match="1 tensor .* not tensors"):
            tensors_only({name: value}, "adapter")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_published_weights_must_be_finite(value: float) -> None:
    state = {"weight": torch.full((2, 3), value, dtype=torch.float64), "bias": torch.zeros(2)}
    with pytest.raises(CheckpointError, match=r"adapter: 1 tensor \(weight\) not finite"):
        fill(torch.nn.Linear(3, 2), state, "adapter", copy=True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "Git LFS pointer"),
        (b"<html><body>404</body></html>", "a web page"),
        (b"\xff\xd8\xff\xe0" + bytes(30), "a JPEG image"),
        (b"GGUF" + bytes(30), "a GGUF checkpoint"),
        (pickle.dumps({"a": Path("x")}, protocol=2), "can run code"),
        (b"0.1 0.2 0.3", "is text"),
        (b"", "is empty"),
    ],
)
def test_other_files_are_told_for_what_they_are(data: bytes, says: str, tmp_path: Path) -> None:
    for name in ("adapter.pth", "adapter.safetensors"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match="adapter: .*") as caught:
            read_checkpoint(tmp_path / name, "adapter")
        assert "\n" not in str(caught.value)
        assert says in str(caught.value) or name.endswith(".safetensors")
