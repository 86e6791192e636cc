"""Files of tensors, read by what they hold and never by their name, within limits.

A safetensors file and a torch file are told apart by their first bytes. Both are mapped into memory, so that what is
read costs nothing before it is used. Torch files are read with `weights_only=True`: no code of theirs ever runs.
"""

from __future__ import annotations

import os
import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from stylecrafter.errors import CheckpointError
from stylecrafter.media.documents import shown
from stylecrafter.media.recognise import recognise
from stylecrafter.weights.headers import SAFETENSORS, TORCH, head_of, read_shapes

#: Of what stands beside the numbers of a torch file; the largest that are published have about a hundredth of it.
MAX_PICKLE_BYTES = 16 * 2**20
#: A checkpoint wraps its tensors in `state_dict` once or twice.
MAX_WRAPPINGS = 8
_NO_CODE = "files with other objects are refused, because loading them can run code"


def read_file(path: str | os.PathLike[str], what: str) -> Any:
    """What a checkpoint file holds: plain data with tensors in it.

    Args:
        path: A safetensors or torch file, whatever its name.
        what: What it is, for messages ("adapter").

    Raises:
        CheckpointError: No such file, another kind of file (the message says which), a part of one, or one that
            holds more than plain data.
    """
    try:
        head = head_of(path)
        found = recognise(head)
        if found == SAFETENSORS or (found is None and Path(path).suffix == ".safetensors"):
            read_shapes(path)  # its words where it is no such file, or a part of one
            return load_file(path)
        if found is not None and found not in TORCH:
            raise CheckpointError(f"{shown(path)} is {found}, not a checkpoint of tensors")
        return _read_torch(path, head)
    except CheckpointError as error:
        raise CheckpointError(f"{what}: {error}") from error
    except MemoryError:
        raise  # says nothing of the file
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{what}: {shown(path)} is no torch checkpoint of tensors alone ({_NO_CODE})"
        ) from error
    except Exception as error:
        # The readers answer files of another kind with nearly every exception there is.
        lines = str(error).splitlines()
        raise CheckpointError(
            f"{what}: {shown(path)} cannot be read: {lines[0] if lines else type(error).__name__}"
        ) from error


def tensors_only(state: Mapping[str, Any], what: str) -> dict[str, Tensor]:
    """`state` itself, if every value is a tensor of plain numbers under a name.

    Raises:
        CheckpointError: Something else is in it.
    """
    others = [f"{shown(str(key))} ({odd})" for key, value in state.items() if (odd := _odd(key, value))]
    if others:
        raise CheckpointError(f"{what}: {listing(others)} not tensors; is this the right file?")
    return dict(state)


def unwrapped(state: Any, what: str) -> Mapping[str, Any]:
    """The mapping from names to tensors, without the `state_dict` around it.

    Raises:
        CheckpointError: There is none, an empty one, or wrappings without end.
    """
    for _ in range(MAX_WRAPPINGS):
        inner = state.get("state_dict") if isinstance(state, Mapping) else None
        if not isinstance(inner, Mapping):
            break
        state = inner
    else:
        raise CheckpointError(f"{what}: more than {MAX_WRAPPINGS} state_dict inside each other")
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{what}: expected a mapping from names to tensors, got {type(state).__name__}")
    if not state:
        raise CheckpointError(f"{what}: it holds no tensors at all")
    return state


def listing(names: list[str], noun: str = "tensor") -> str:
    """ "4 tensors (a, b, c, …)"."""
    if not names:
        return f"0 {noun}s"
    some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} {noun}{'s' if len(names) > 1 else ''} ({some})"


def _odd(key: Any, value: Any) -> str | None:
    """Why this is no tensor of plain numbers under a name, None where it is one."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if not isinstance(key, str):
        return f"a name of type {type(key).__name__}"
    if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
        return f"{value.dtype}, {value.layout}"
    # Strides of zero let a file of some bytes stand for any number of them.
    if value.numel() * value.element_size() > max(64 * 2**20, value.untyped_storage().nbytes()):
        return f"{tuple(value.shape)} out of {value.untyped_storage().nbytes():,} bytes"
    return None


def _read_torch(path: str | os.PathLike[str], head: bytes) -> Any:
    if head.startswith(b"PK\x03\x04"):
        _check_archive(path)
        if Path(path).suffix != ".safetensors":
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        with open(path, "rb") as file:  # of such a name torch would not believe the contents
            return torch.load(file, map_location="cpu", weights_only=True)
    if head[:1] != b"\x80":
        if not head:
            raise CheckpointError(f"{shown(path)} is empty (0 bytes)")
        text = b"\0" not in head
        raise CheckpointError(
            f"{shown(path)} is {'text' if text else 'no checkpoint'}: it begins {head[:16]!r}"
        )
    # The format from before version 1.6: some pickles, then the numbers. It cannot be mapped.
    with open(path, "rb") as file:
        _check_pickles(_Bounded(file))
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_archive(path: str | os.PathLike[str]) -> None:
    """Refuse archives that torch has not written: what they unpack to has no bound."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{shown(path)} is a damaged or incomplete zip archive ({error})") from error
    pickled = [m for m in members if m.filename.rpartition("/")[2] == "data.pkl"]
    if not pickled:
        raise CheckpointError(f"{shown(path)} is a zip archive, but not one that torch has written")
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(
        m.file_size for m in members
    ) > os.path.getsize(path):
        raise CheckpointError(f"{shown(path)} is a compressed archive; torch writes plain ones")
    if max(m.file_size for m in pickled) > MAX_PICKLE_BYTES:
        raise CheckpointError(f"{shown(path)} holds more than {MAX_PICKLE_BYTES:,} bytes beside its tensors")


class _Bounded:
    """A file of which only so many bytes can be read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, MAX_PICKLE_BYTES

    def read(self, count: int) -> bytes:
        self._spend(count)
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline(self._left + 1)
        self._spend(len(line))
        return line

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise CheckpointError(f"it holds more than {MAX_PICKLE_BYTES:,} bytes beside its tensors")


def _check_pickles(file: Any) -> None:
    """Walk over the pickles at the head of an old torch file without building anything."""
    for _ in range(5):
        try:
            for _ in pickletools.genops(file):
                pass
        except ValueError as error:
            if isinstance(error, CheckpointError):
                raise
            return  # what is wrong with it, the reader says
