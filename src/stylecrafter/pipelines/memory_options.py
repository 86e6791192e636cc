"""How memory is saved, and what for: in the words of the command line. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from stylecrafter.errors import InvalidInputError, MissingDependencyError, unknown_name

#: What leaves a GPU while it is not needed: what `low_memory` says, nothing, whole models, or single layers.
OFFLOADS = ("auto", "none", "model", "group")
#: How weights are kept: as they compute, as 8-bit floats, or as whole numbers of 8 bits.
WEIGHTS = ("full", "fp8", "int8")
NEEDS_TORCHAO = "weights as int8 need torchao; pip install 'stylecrafter[quantize]', or take --weights fp8"


def check_offload_name(name: str) -> str:
    """The name itself, if it is one of `OFFLOADS`.

    Raises:
        UnknownNameError: It is not.
    """
    if name not in OFFLOADS:
        raise unknown_name("offload", name, OFFLOADS)
    return name


def check_weights_name(name: str) -> str:
    """The name itself, if it is one of `WEIGHTS`.

    Raises:
        UnknownNameError: It is not.
    """
    if name not in WEIGHTS:
        raise unknown_name("weights", name, WEIGHTS)
    return name


@dataclass(frozen=True)
class MemoryOptions:
    """How memory is saved.

    Attributes:
        low_memory: See `MemorySaving.enable_low_memory`.
        offload: One of `OFFLOADS`.
        weights_as: One of `WEIGHTS`.

    Raises:
        UnknownNameError: Names that are not among them.
    """

    low_memory: bool = False
    offload: str = "auto"
    weights_as: str = "full"

    def __post_init__(self) -> None:
        check_offload_name(self.offload)
        check_weights_name(self.weights_as)

    def offloading(self, device_type: str) -> str:
        """What leaves a device of that type while it is not needed: "none", "model" or "group".

        Raises:
            InvalidInputError: Asked for where there is no other memory to go to.
        """
        if self.offload == "auto":
            return "model" if self.low_memory and device_type == "cuda" else "none"
        if self.offload != "none" and device_type != "cuda":
            raise InvalidInputError(
                f"--offload {self.offload} keeps weights in the machine's memory until a GPU needs them, and this runs "
                f"on {device_type}, which has no other memory; --low-memory and --weights fp8 save memory there"
            )
        return self.offload

    def checked(self, device_type: str) -> MemoryOptions:
        """These, if they can be had on a device of that type.

        Raises:
            InvalidInputError: See `offloading`.
            MissingDependencyError: torchao is not installed, and weights are to be stored as int8.
        """
        self.offloading(device_type)
        if self.weights_as == "int8" and find_spec("torchao") is None:
            raise MissingDependencyError(NEEDS_TORCHAO)
        return self

    def recorded(self) -> dict[str, Any]:
        """What of it may change a result, where it was asked for; where weights lie changes nothing."""
        said: dict[str, Any] = {"low_memory": True} if self.low_memory else {}
        return said if self.weights_as == "full" else {**said, "weights_as": self.weights_as}


@dataclass(frozen=True)
class Workload:
    """What is to be made: one clip, in frames and pixels.

    Attributes:
        references: Style pictures, read all at once; 0: no style.
        window: Frames that the denoiser sees at once; 0: all.
        masks: Of where styles act, one for each style; 0: they act everywhere.
        negatives: Pictures of a style to move away from.
    """

    frames: int
    width: int
    height: int
    references: int = 0
    window: int = 0
    masks: int = 0
    negatives: int = 0
