"""Reading published checkpoints and accounting for every tensor in them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from accelerate import init_empty_weights
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from stylecrafter.errors import CheckpointError
from stylecrafter.weights.strict import compare, finite
from stylecrafter.weights.tensor_files import listing, read_file, tensors_only, unwrapped

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=nn.Module)

Source = str | os.PathLike[str] | Mapping[str, Any]


def read_checkpoint(source: Source, what: str) -> Mapping[str, Any]:
    """The state dict of a checkpoint: a file or a mapping, with or without a `state_dict` around it.

    Args:
        source: A safetensors or torch file (read with `weights_only=True`), told by what it holds, or a mapping.
        what: What it is, for messages ("adapter").

    Raises:
        CheckpointError: No such file, not a checkpoint, or one that holds more than plain data.
    """
    if isinstance(source, Mapping):
        return unwrapped(source, what)
    if not os.fspath(source):
        raise CheckpointError(f"{what}: no such file: its name is empty")
    return unwrapped(read_file(source, what), what)


def nested_tensors(state: Mapping[str, Any], modules: Sequence[str], what: str) -> dict[str, Tensor]:
    """Flat `module.key` names from a checkpoint that maps module names to state dicts, or is flat already.

    Args:
        state: {module: {key: tensor}} or {"module.key": tensor}.
        modules: The modules that have to be there, no more and no fewer.
        what: For messages.

    Raises:
        CheckpointError: Other modules than these, or values that are not tensors.
    """
    tensors = tensors_only(flat(state), what)
    strange = [key for key in tensors if not any(key.startswith(f"{module}.") for module in modules)]
    absent = [module for module in modules if not any(key.startswith(f"{module}.") for key in tensors)]
    if strange or absent:
        raise CheckpointError(
            f"{what} does not fit this model: {listing(absent, 'module')} missing, {listing(strange)} unknown"
        )
    return tensors


def flat(state: Mapping[str, Any]) -> dict[str, Any]:
    """Names "module.key" from a mapping of module names to state dicts; what is flat stays as it is."""
    names: dict[str, Any] = {}
    for key, value in state.items():
        names |= (
            {f"{key}.{leaf}": v for leaf, v in value.items()} if isinstance(value, Mapping) else {key: value}
        )
    return names


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
        raise CheckpointError(f"{what}: {listing(unknown)} without a place in the model")
    for reason, count in groups.items():
        logger.info("%s: left out %d tensors: %s", what, count, reason)


def fill(model: nn.Module, state: Mapping[str, Tensor], what: str, copy: bool) -> None:
    """Give a model (on the meta device or not) all its tensors, numbers as float32, nothing missing, nothing over.

    Args:
        model: The model; it takes the tensors over.
        state: The model's own names -> tensors.
        what: For messages.
        copy: Whether tensors are copied, so that the caller's stay untouched by later training.

    Raises:
        CheckpointError: Names or shapes that do not fit.
    """
    own = model.state_dict()
    misfit = compare(shapes_of(own), state)
    if misfit:
        raise CheckpointError(f"{what} does not fit {type(model).__name__}: {misfit.text()}")
    # Counters stay counters.
    formats = {key: torch.float32 if value.is_floating_point() else value.dtype for key, value in own.items()}
    values = {key: state[key].to(format_).contiguous() for key, format_ in formats.items()}
    if copy:
        values = {key: v.clone() if v.data_ptr() == state[key].data_ptr() else v for key, v in values.items()}
    # What is cast to a counter hides that it was none.
    finite(values | {key: state[key] for key, value in own.items() if not value.is_floating_point()}, what)
    model.load_state_dict(values, strict=True, assign=True)


def filled(build: Callable[[], Model], state: Mapping[str, Tensor], what: str, copy: bool) -> Model:
    """Build a model without memory for its weights, then give it those of `state`; see `fill`.

    Raises:
        CheckpointError: Sizes that no model has, or names or shapes that do not fit.
    """
    try:
        with init_empty_weights():
            model = build()
    except (ValueError, StrictDataclassError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{what}: the sizes do not go together: {reason}") from error
    fill(model, state, what, copy)
    model.eval()
    return model
