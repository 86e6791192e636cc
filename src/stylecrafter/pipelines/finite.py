"""Numbers that are none (NaN, infinite) end a call: what is drawn from them is black."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError

_HALF = "float16 holds nothing above 65,504, and this model computes more: use float32 or bfloat16."
_OTHERWISE = (
    "Something in the model's configs or given to the call (guidance, scales, a callback) is beyond what the model "
    "computes with."
)


def check_given(name: str, value: Any) -> Tensor:
    """A tensor that the caller brings, if it is one of finite numbers.

    Raises:
        InvalidInputError: It is not.
    """
    if not isinstance(value, Tensor):
        raise InvalidInputError(f"{name} must be a tensor, got {type(value).__name__}")
    count = int((~value.isfinite()).sum())
    if count:
        raise InvalidInputError(f"{name} must be finite numbers; {count:,} of {value.numel():,} are not")
    return value


def check_computed(what: str, values: Mapping[str, Tensor | None], dtype: torch.dtype) -> None:
    """Make sure that a model has computed numbers.

    Args:
        what: When, for the message ("before the first step").
        values: Name -> what was computed.
        dtype: The number format that the model runs in.

    Raises:
        InvalidInputError: It has not; the message says which and what to do.
    """
    present = {name: value for name, value in values.items() if value is not None}
    flags = torch.stack([value.isfinite().all() for value in present.values()]).tolist()
    broken = [name for name, fine in zip(present, flags, strict=True) if not fine]
    if broken:
        raise InvalidInputError(_message(f"{', '.join(broken)} {what}", dtype))


class StepWatch:
    """Finds the step after which numbers are no longer finite.

    On the CPU it ends the call at that step. On accelerators, where asking would have the host wait at every step,
    the answers are kept there and asked for at the end.

    Args:
        steps: Of the whole call.
        dtype: The number format that the model runs in.
    """

    def __init__(self, steps: int, dtype: torch.dtype) -> None:
        self._steps, self._dtype = steps, dtype
        self._flags: list[tuple[str, Tensor]] = []

    def see(self, what: str, step: int, *values: Tensor) -> None:
        """Look at `what` is there at a step (from 0).

        Raises:
            InvalidInputError: On the CPU, where it is not finite.
        """
        fine = torch.stack([value.isfinite().all() for value in values]).all()
        self._flags.append((f"{what} at step {step + 1} of {self._steps}", fine))
        if fine.device.type == "cpu":
            self.finish()

    def finish(self) -> None:
        """Ask about everything that was looked at since it was last asked.

        Raises:
            InvalidInputError: Something is not finite; the message says what was first, and at which step.
        """
        flags, self._flags = self._flags, []
        fine = torch.stack([flag for _, flag in flags]).tolist() if flags else []
        for (what, _), good in zip(flags, fine, strict=True):
            if not good:
                raise InvalidInputError(_message(what, self._dtype))


def _message(what: str, dtype: torch.dtype) -> str:
    return f"{what}: not finite (NaN or infinite). {_HALF if dtype == torch.float16 else _OTHERWISE}"
