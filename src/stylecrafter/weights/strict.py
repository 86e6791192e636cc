"""Every tensor of a model comes from its files, every tensor of the files has a place, and all are numbers.

Loaders fill what they recognise, draw the rest at random, leave out what they do not know, and tell a log that nobody
reads. So what a model wants is compared with what its files hold before it is loaded, by names and shapes, and what it
was given with what they hold afterwards, number by number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from stylecrafter.errors import CheckpointError, StyleCrafterError
from stylecrafter.media.recognise import recognise_file
from stylecrafter.weights.folders import check_config, read_part_config, weight_files
from stylecrafter.weights.headers import SAFETENSORS
from stylecrafter.weights.tensor_files import listing, read_file, tensors_only, unwrapped

Shape = tuple[int, ...]

#: What files of old versions hold and today's models compute themselves.
HARMLESS = re.compile(r"(.+\.)?position_ids")
_OLD_ATTENTION = re.compile(r"\.(query|key|value|proj_attn)\.(weight|bias)$")
_ATTENTION_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
#: In front of names in towers that were saved as a part of CLIP; transformers reads them with and without.
_TOWERS = ("text_model.", "vision_model.")


@dataclass
class Misfit:
    """Names of tensors that keep files and a model apart, by kind; false where there are none."""

    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unknown or self.misshapen or self.broken)

    def text(self) -> str:
        """ "2 tensors (a, b) missing, 0 tensors unknown"."""
        parts = [f"{listing(self.missing)} missing", f"{listing(self.unknown)} unknown"]
        if self.misshapen:
            parts.append(f"{listing(self.misshapen)} of another shape")
        if self.broken:
            parts.append(f"{listing(self.broken)} not finite")
        return ", ".join(parts)


def compare(wanted: Mapping[str, Shape], held: Mapping[str, Tensor]) -> Misfit:
    """Names and shapes that a model wants against tensors that are there."""
    return Misfit(
        missing=[name for name in wanted if name not in held],
        unknown=[name for name in held if name not in wanted and not HARMLESS.fullmatch(name)],
        misshapen=[
            f"{name} {tuple(held[name].shape)} instead of {tuple(shape)}"
            for name, shape in wanted.items()
            if name in held and tuple(held[name].shape) != tuple(shape)
        ],
    )


def is_finite(values: Tensor) -> bool:
    """Whether all values are numbers, without a copy of them; true of tensors without memory."""
    if not values.is_floating_point() or values.numel() == 0 or values.is_meta:
        return True
    if values.element_size() == 1:
        values = values.float()
    # NaN spreads to both ends.
    low, high = torch.aminmax(values)
    return bool(low.isfinite() & high.isfinite())


def finite(tensors: dict[str, Tensor], what: str) -> dict[str, Tensor]:
    """The tensors themselves, if all of them are finite.

    Raises:
        CheckpointError: Some are not.
    """
    broken = [name for name, value in tensors.items() if not is_finite(value)]
    if broken:
        raise CheckpointError(
            f"{what}: {listing(broken)} not finite (NaN or infinite): nothing comes of such weights"
        )
    return tensors


@dataclass(frozen=True)
class Held:
    """What the files of a part hold, by the names that the part has for it.

    Attributes:
        what: The part and where it lies, for messages.
        tensors: Mapped from the files: read when they are used.
        renamed: Whether the files have other names for some.
    """

    what: str
    tensors: dict[str, Tensor]
    renamed: bool = False

    def verify(self, model: nn.Module) -> None:
        """Make sure that a loaded model is filled from these tensors, and with nothing else.

        Raises:
            CheckpointError: Something is not finite, or not what the files hold.
        """
        if getattr(model, "hf_quantizer", None) is not None:
            return  # weights are packed into others then
        misfit = Misfit()
        foreign: list[str] = []
        overflown: list[str] = []
        for name, value in model.state_dict().items():
            own = self.tensors.get(name)
            if own is None:
                misfit.missing.append(name)
            elif value.is_meta:
                # Weights that a device map leaves on the disk are read when they are used.
                if not is_finite(own):
                    misfit.broken.append(name)
                elif getattr(model, "hf_device_map", None) is None:
                    foreign.append(name)
            elif not is_finite(value):
                (overflown if is_finite(own) else misfit.broken).append(name)
            elif not torch.equal(value, own.to(value.device, value.dtype)):
                foreign.append(name)
        if misfit:
            raise CheckpointError(f"{self.what}: {misfit.text()}.")
        if overflown:
            raise CheckpointError(
                f"{self.what}: {listing(overflown)} too large for {_format(model)}; load it as float32 or bfloat16."
            )
        if foreign:
            import transformers

            raise CheckpointError(
                f"{self.what}: {listing(foreign)} not loaded as the file holds them (with transformers "
                f"{transformers.__version__}); use the versions that stylecrafter asks for."
            )


def examine(
    folder: Path,
    kind: type,
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    beside: str = "",
) -> Held:
    """Compare what a part of a model folder wants with what its files hold, before it is loaded.

    Args:
        folder: Of the part: its config and its weights.
        kind: Class of a diffusers or transformers model.
        variant: As loaders take it ("fp16").
        use_safetensors: Likewise; None prefers them.
        beside: Regular expression of tensors that may lie there for other models, and do not count.

    Raises:
        CheckpointError: A config or file that cannot be read, or tensors that are missing, unknown or misshapen; the
            message names the part and counts them.
    """
    what = f"{folder.name} ({kind.__name__}) in {folder.parent}"
    config = read_part_config(folder, kind)
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder, _is_diffusers(kind), variant, use_safetensors):
        held = read_file(file, what)
        if (recognise_file(file) == SAFETENSORS) != (file.suffix == ".safetensors"):
            # Loaders of folders go by names.
            raise CheckpointError(
                f"{what}: {file.name} is {recognise_file(file)}; give it a name that says so."
            )
        # A file without tensors is told by what is missing.
        tensors |= tensors_only(unwrapped(held, what) if held else {}, what)
    tensors = {name: value for name, value in tensors.items() if not re.fullmatch(beside, name)}
    check_config(config, folder / "config.json", len(tensors))
    with refusing(f"{what}: its config.json makes no {kind.__name__}"):
        wanted = {name: tuple(value.shape) for name, value in _skeleton(kind, folder, config).items()}
    named = _with_tied(kind, _renamed(tensors, wanted))
    misfit = compare(wanted, named)
    if misfit:
        raise CheckpointError(f"{what}: {misfit.text()}.")
    return Held(what, named, renamed=not tensors.keys() <= named.keys())


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Say in one line what a library says with any exception there is, about files that users bring.

    Raises:
        CheckpointError: "`what`: the reason".
    """
    try:
        yield
    except (CheckpointError, MemoryError, torch.OutOfMemoryError):
        raise
    except BaseException as error:
        # Tokenizers answer broken files with a panic, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        # Validators of configs give the field in the first line and the reason in the next.
        if reason.endswith(":") and len(lines) > 1:
            reason = f"{reason} {lines[1]}"
        if not isinstance(error, (StyleCrafterError, OSError, ValueError, RuntimeError)):
            reason = f"{type(error).__name__}: {reason}"
        raise CheckpointError(f"{what}: {reason if len(reason) <= 400 else f'{reason[:400]}…'}") from error


def meta_model(kind: Any, folder: Path) -> Any:
    """A part without memory for its numbers, from its config alone; its weights need not be there.

    Raises:
        CheckpointError: No config, or one that makes no such part.
    """
    config = read_part_config(folder, kind)
    check_config(config, folder / "config.json", 0)
    with refusing(f"{folder.name} ({kind.__name__}) in {folder.parent}: its config.json makes none"):
        return _without_memory(kind, folder, config).eval()


def _skeleton(kind: Any, folder: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    """The state dict of a part without memory for its numbers."""
    return cast("dict[str, Tensor]", _without_memory(kind, folder, config).state_dict())


def _without_memory(kind: Any, folder: Path, config: dict[str, Any]) -> Any:
    with torch.device("meta"):
        if _is_diffusers(kind):
            return kind.from_config(config)
        return kind(kind.config_class.from_pretrained(folder))


def _renamed(tensors: dict[str, Tensor], wanted: Mapping[str, Shape]) -> dict[str, Tensor]:
    """Tensors by the names that a model has for them, where those differ by the name of the tower."""
    bare = {_bare(name): name for name in wanted}
    if len(bare) < len(wanted):
        return tensors  # both towers: only the prefix tells them apart
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        own = name if name in wanted else bare.get(_bare(_today(name)), name)
        # Of two that claim one place, the second is unknown.
        renamed[name if own in renamed or (own != name and own in tensors) else own] = value
    return renamed


def _with_tied(kind: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors, and those that a model of that class shares between two names (T5's embeddings) under both."""
    tied = getattr(kind, "_tied_weights_keys", None) or {}
    shared = {own: tensors[source] for own, source in dict(tied).items() if source in tensors}
    return {**shared, **tensors}


def _today(name: str) -> str:
    """A name as today's attention has it: those of old files differ (published autoencoders of Stable Diffusion)."""
    return _OLD_ATTENTION.sub(lambda match: f".{_ATTENTION_NAMES[match[1]]}.{match[2]}", name)


def _bare(name: str) -> str:
    return next((name.removeprefix(tower) for tower in _TOWERS if name.startswith(tower)), name)


def _is_diffusers(kind: type) -> bool:
    from diffusers import ModelMixin

    return issubclass(kind, ModelMixin)


def _format(model: nn.Module) -> str:
    return str(getattr(model, "dtype", "its number format")).removeprefix("torch.")
