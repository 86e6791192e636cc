"""What a caller is told after every step, and may change: callables, and the callbacks of diffusers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from torch import Tensor

from stylecrafter.errors import InvalidInputError

Callback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any] | None]

#: What the pipelines of diffusers call our tensors.
ALIASES = {"prompt_embeds": "text_embeds", "negative_prompt_embeds": "negative_text_embeds"}

#: Those that may be None: a clip without a style.
OPTIONAL = ("style_tokens", "style_scales")


class StepCallback:
    """Calls a callback with the tensors that it asks for, and takes over those that it returns.

    Args:
        callback: As `callback_on_step_end` of `StyleCrafterPipeline.__call__`; None does nothing.
        names: Tensors to show it; a callback of diffusers knows its own.
        known: Tensors that there are.

    Raises:
        InvalidInputError: There is no tensor of a name, or the callback is none.
    """

    def __init__(self, callback: Callback | None, names: Sequence[str], known: Sequence[str]) -> None:
        if isinstance(callback, (PipelineCallback, MultiPipelineCallbacks)):
            names = callback.tensor_inputs
        if callback is not None and not callable(callback):
            raise InvalidInputError(f"callback_on_step_end must be a function, got {callback!r}")
        if not isinstance(names, (list, tuple)):
            raise InvalidInputError(
                f"callback_on_step_end_tensor_inputs must be a list of {', '.join(known)}, got {names!r}"
            )
        self._callback, self._names, self._known = callback, tuple(names), tuple(known)
        unknown = sorted(name for name in names if ALIASES.get(name, name) not in known)
        if unknown:
            raise InvalidInputError(
                f"callback_on_step_end_tensor_inputs {unknown} do not exist; there are {', '.join(known)}"
            )

    def __bool__(self) -> bool:
        return self._callback is not None

    def __call__(self, pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> None:
        """Call it after a step; `tensors` is changed as it says.

        Raises:
            InvalidInputError: It returned something else than tensors by the names that there are, or latents
                of another shape.
        """
        if self._callback is None:
            return
        shown = {name: tensors[ALIASES.get(name, name)] for name in self._names}
        changed = self._checked(self._callback(pipe, step, timestep, shown))
        latents = changed.get("latents", tensors["latents"])
        if latents.shape != tensors["latents"].shape:
            raise InvalidInputError(
                f"a callback returned latents {tuple(latents.shape)}; they stay {tuple(tensors['latents'].shape)}"
            )
        tensors.update(changed)

    def _checked(self, changed: Any) -> dict[str, Any]:
        if not changed:
            return {}
        known = ", ".join(self._known)
        if not isinstance(changed, dict):
            raise InvalidInputError(
                f"a callback returns None or a dict of {known}; got {type(changed).__name__}"
            )
        renamed = {str(ALIASES.get(name, name)): value for name, value in changed.items()}
        odd = [name for name in renamed if name not in self._known]
        odd += [
            name
            for name, value in renamed.items()
            if not isinstance(value, Tensor) and not (value is None and name in OPTIONAL)
        ]
        if odd:
            raise InvalidInputError(f"a callback returned {odd[0]!r}, which is no tensor of {known}")
        return renamed
