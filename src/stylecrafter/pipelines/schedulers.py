"""Short names for the diffusers schedulers that go well with the models; importing this loads no library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylecrafter.errors import unknown_name

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpm++sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpm++2s": ("DPMSolverSinglestepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpm++karras": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True},
    ),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-trailing": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "ddim-trailing": ("DDIMScheduler", {"timestep_spacing": "trailing"}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
"""Name -> diffusers class and what is changed in its config."""


_FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
FLOW_SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "heun": ("FlowMatchHeunDiscreteScheduler", {}),
    "lcm": ("FlowMatchLCMScheduler", {}),
    **{
        name: (SCHEDULERS[name][0], {**SCHEDULERS[name][1], **_FLOW})
        for name in ("dpm++", "dpm++sde", "dpm++2s", "unipc", "deis")
    },
}
"""The same for models that predict flow; the others have no version of that."""


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A diffusers scheduler with the noise schedule and prediction type of another one.

    Args:
        name: One of `SCHEDULERS`; for a model that predicts flow, one of `FLOW_SCHEDULERS`.
        config: The config of the scheduler that the model came with (`pipe.scheduler.config`).

    Raises:
        UnknownNameError: No such scheduler, or none for flow.
    """
    if name not in SCHEDULERS:
        raise unknown_name("scheduler", name, SCHEDULERS)
    import diffusers

    if not of_flow(config):
        class_name, changes = SCHEDULERS[name]
        return getattr(diffusers, class_name).from_config(config, **changes)
    if name not in FLOW_SCHEDULERS:
        raise unknown_name("scheduler for a model that predicts flow", name, FLOW_SCHEDULERS)
    class_name, changes = FLOW_SCHEDULERS[name]
    shift = config.get("flow_shift", config.get("shift", 1.0))
    return getattr(diffusers, class_name)(
        num_train_timesteps=config["num_train_timesteps"],
        **{"flow_shift" if changes else "shift": shift},
        **changes,
    )


def of_flow(config: Mapping[str, Any]) -> bool:
    """Whether a scheduler of that config is for models that predict flow."""
    return bool(config.get("use_flow_sigmas")) or "shift" in config
