"""How a stage runs: in one process or several, with copies of the model or in parts, by which kernels."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.tracking import GeneralTracker
from accelerate.utils import ProjectConfiguration
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.batch_shares import Shard
from stylecrafter.training.stages import Stage


class StageLoss(nn.Module):
    """A stage as one module whose forward pass is its loss: what DDP and FSDP wrap."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.models = nn.ModuleDict(stage.models())
        self.stage = stage

    def forward(self, step: int, shard: Shard) -> torch.Tensor:
        return self.stage.loss(step, shard)


@contextlib.contextmanager
def attention_for_training(device_type: str) -> Iterator[None]:
    """The fastest kernel of `scaled_dot_product_attention` to train with.

    On CPUs the fused kernel's backward pass takes six times as long as the same in plain matrix products, at the
    few hundred tokens and many heads of the models trained there. Elsewhere torch chooses.
    """
    if device_type != "cpu":
        yield
        return
    reduced = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # else bfloat16 is computed in float32
    try:
        with sdpa_kernel([SDPBackend.MATH]):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(reduced)


def make_accelerator(
    device: torch.device, folder: Path, trackers: Sequence[GeneralTracker | str]
) -> Accelerator:
    """The processes that this one belongs to, and the trackers of its reports in `folder`.

    Stages that follow one another in a process may differ in precision, which accelerate lays down once per process:
    casting is the trainer's matter.
    """
    PartialState(cpu=device.type == "cpu")  # once per process: a later device is no matter of the group
    return Accelerator(
        mixed_precision="no",
        log_with=list(trackers),
        project_config=ProjectConfiguration(logging_dir=str(folder)),
        # Steps of pictures alone pass by the temporal layers.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def leave_group() -> None:
    """Part from the other processes of a launcher, where there are any, once all have come to here.

    For the end of a program whose work is done. Threads of a group that the interpreter's end finds still there may
    abort the process, whose launcher then takes a finished run for a failed one.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    torch.distributed.barrier()
    # Copies of models hold the group, and cycles hold the copies.
    gc.collect()
    torch.distributed.destroy_process_group()


def shard_weights(loss: nn.Module) -> None:
    """Spread the weights of all models over the processes (FSDP2), in the units that the models name themselves.

    Accelerate's plugin for FSDP2 spreads on accelerators alone; on CPUs it makes copies without a word.

    Raises:
        InvalidInputError: A weight is a single number, which cannot be spread.
    """
    single = [name for name, value in loss.named_parameters() if value.dim() == 0]
    if single:
        raise InvalidInputError(f"{single[0]} is one number and cannot be spread; set sharding to none")
    for model in loss.modules():
        units = getattr(model, "_no_split_modules", None) or ()
        for module in model.modules():
            if type(module).__name__ in units and not isinstance(module, FSDPModule):
                fully_shard(module)
    fully_shard(loss)


def checkpoint_gradients(stage: Stage) -> None:
    """Have every trained model that can do so compute activations again in the backward pass."""
    able = [
        model
        for model in stage.models().values()
        if getattr(model, "_supports_gradient_checkpointing", False)
    ]
    if not able:
        raise InvalidInputError(f"no model of stage {stage.name} supports gradient_checkpointing")
    for model in able:
        enable: Any = getattr(model, "enable_gradient_checkpointing", None)
        if enable is not None:
            enable()


def whole(value: torch.Tensor) -> torch.Tensor:
    """A tensor on the CPU with all its parts, whichever process holds them."""
    whole = value.full_tensor() if isinstance(value, DTensor) else value
    return whole.detach().cpu()


def placed_like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """`value` on the device of `parameter`, in parts where that one is."""
    if isinstance(parameter, DTensor):
        return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
    return value.to(parameter.device)


def placed_moments(
    moments: dict[str, torch.Tensor], parameter: torch.Tensor, group: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """What an optimiser remembers of `parameter`, each where `Optimizer.load_state_dict` puts it.

    Args:
        moments: Its state by name, whole and on the CPU.
        parameter: What it is of.
        group: The optimiser's group with the parameter.
    """
    # The count of steps stays on the host, but for kernels that read it on the device.
    on_device = group.get("fused") or group.get("capturable")
    return {
        name: placed_like(value, parameter)
        if name != "step"
        else value.to(parameter.device if on_device else "cpu")
        for name, value in moments.items()
    }
