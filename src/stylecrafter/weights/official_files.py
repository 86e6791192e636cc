"""Reading published checkpoints and accounting for every tensor in them."""

from __future__ import annotations

import logging
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stylecrafter.errors import CheckpointError

logger = logging.getLogger(__name__)

Source = str | os.PathLike[str] | Mapping[str, Any]


def read_checkpoint(source: Source, what: str) -> Mapping[str, Any]:
    """The state dict of a checkpoint: a file or a mapping, with or without a `state_dict` around it.

    Args:
        source: A `.safetensors` file, a torch file (read with `weights_only=True`), or a mapping.
        what: What it is, for messages ("adapter").

    Raises:
        CheckpointError: No such file, not a checkpoint, or one that holds more than plain data.
    """
    state = source if isinstance(source, Mapping) else _read_file(Path(source), what)
    while isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{what}: expected a mapping from names to tensors, got {type(state).__name__}")
    return state


def tensors_only(state: Mapping[str, Any], what: str) -> dict[str, Tensor]:
    """`state` itself, if every value is a tensor.

    Raises:
        CheckpointError: Something else is in it.
    """
    others = [
        f"{key} ({type(value).__name__})" for key, value in state.items() if not isinstance(value, Tensor)
    ]
    if others:
        raise CheckpointError(f"{what}: {_listing(others)} not tensors; is this the right file?")
    return dict(state)


def nested_tensors(state: Mapping[str, Any], modules: Sequence[str], what: str) -> dict[str, Tensor]:
    """Flat `module.key` names from a checkpoint that maps module names to state dicts, or is flat already.

    Args:
        state: {module: {key: tensor}} or {"module.key": tensor}.
        modules: The modules that have to be there, no more and no fewer.
        what: For messages.

    Raises:
        CheckpointError: Other modules than these, or values that are not tensors.
    """
    flat: dict[str, Any] = {}
    for key, value in state.items():
        flat |= (
            {f"{key}.{leaf}": v for leaf, v in value.items()} if isinstance(value, Mapping) else {key: value}
        )
    tensors = tensors_only(flat, what)
    strange = [key for key in tensors if not any(key.startswith(f"{module}.") for module in modules)]
    absent = [module for module in modules if not any(key.startswith(f"{module}.") for key in tensors)]
    if strange or absent:
        raise CheckpointError(
            f"{what} does not fit this model: {_listing(absent, 'module')} missing, "
            f"{_listing(strange)} unknown"
        )
    return tensors


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, under the rest of their names."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Name -> shape."""
    return {key: tuple(value.shape) for key, value in tensors.items()}


def account(left_over: Sequence[str], reasons: Mapping[str, str], what: str) -> None:
    """Make sure that every tensor without a place has a stated reason.

    Args:
        left_over: Published names that no model took.
        reasons: Regular expression of full names -> why these are not needed.
        what: For messages.

    Raises:
        CheckpointError: A tensor without place and without reason.
    """
    groups: dict[str, int] = {}
    unknown = []
    for key in left_over:
        reason = next((text for pattern, text in reasons.items() if re.fullmatch(pattern, key)), None)
        if reason is None:
            unknown.append(key)
        else:
            groups[reason] = groups.get(reason, 0) + 1
    if unknown:
        raise CheckpointError(f"{what}: {_listing(unknown)} without a place in the model")
    for reason, count in groups.items():
        logger.info("%s: left out %d tensors: %s", what, count, reason)


def fill(model: nn.Module, state: Mapping[str, Tensor], what: str, copy: bool) -> None:
    """Give a model (on the meta device or not) all its tensors as float32, nothing missing, nothing over.

    Args:
        model: The model; it takes the tensors over.
        state: The model's own names -> tensors.
        what: For messages.
        copy: Whether tensors are copied, so that the caller's stay untouched by later training.

    Raises:
        CheckpointError: Names or shapes that do not fit.
    """
    own = model.state_dict()
    absent = [key for key in own if key not in state]
    strange = [key for key in state if key not in own]
    if absent or strange:
        fit = f"{what} does not fit {type(model).__name__}"
        raise CheckpointError(f"{fit}: {_listing(absent)} missing, {_listing(strange)} unknown")
    misfits = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if state[key].shape != own[key].shape
    ]
    if misfits:
        raise CheckpointError(f"{what} does not fit {type(model).__name__}: {_listing(misfits)} in shape")
    values = {key: value.to(torch.float32).contiguous() for key, value in state.items()}
    if copy:
        values = {key: v.clone() if v.data_ptr() == state[key].data_ptr() else v for key, v in values.items()}
    model.load_state_dict(values, strict=True, assign=True)


def _read_file(path: Path, what: str) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{what}: no such file: {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            # Files in torch's format from before version 1.6 cannot be mapped into memory.
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{what}: {path} is no torch checkpoint of tensors alone (files with other objects are refused, "
            "because loading them can run code)"
        ) from error
    except Exception as error:
        # The unpickler answers files of another kind with nearly every exception there is.
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{what}: {path} cannot be read: {first_line}") from error


def _listing(names: Sequence[str], noun: str = "tensor") -> str:
    """ "3 tensors (a, b, c)"."""
    if not names:
        return f"0 {noun}s"
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} {noun}{'s' if len(names) > 1 else ''} ({shown})"
