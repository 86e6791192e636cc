"""Short names for the diffusers schedulers that go well with the models; importing this loads no library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylecrafter.errors import unknown_name

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpm++sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
}
"""Name -> diffusers class and what is changed in its config."""


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A diffusers scheduler with the noise schedule and prediction type of another one.

    Args:
        name: One of `SCHEDULERS`.
        config: The config of the scheduler that the model came with (`pipe.scheduler.config`).

    Raises:
        UnknownNameError: No such scheduler.
    """
    if name not in SCHEDULERS:
        raise unknown_name("scheduler", name, SCHEDULERS)
    import diffusers

    class_name, changes = SCHEDULERS[name]
    return getattr(diffusers, class_name).from_config(config, **changes)
