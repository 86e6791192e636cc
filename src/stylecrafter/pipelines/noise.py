"""Where the noise comes from: one source per sample, drawn on the CPU."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.finite import check_given

Generators = torch.Generator | Sequence[torch.Generator]


def sample_generators(
    generator: Generators | None, seed: int | None, count: int, repeat: int | None = None
) -> list[torch.Generator]:
    """One CPU generator per sample, so that noise is the same on every device and in every batch.

    Each sample's generator is seeded with one number drawn from the given generator (or its own of a list).
    A batch of n therefore consumes what n calls for one sample each would consume, and gets the same noise.

    Args:
        generator: One for all samples, or one per sample, on any device.
        seed: Short for a fresh generator with this seed.
        count: Samples.
        repeat: After so many samples the noise begins again, whatever their number; None: it never does.

    Raises:
        InvalidInputError: Both given, something else than generators, or another number of them than samples.
    """
    if generator is not None and seed is not None:
        raise InvalidInputError("give a generator or a seed, not both")
    if repeat is not None and repeat < count:
        first = sample_generators(generator, seed, repeat)
        return [again for _ in range(count // repeat) for again in map(torch.Generator.clone_state, first)]
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
    if generator is None:
        generator = torch.default_generator
    if isinstance(generator, torch.Generator):
        sources = [generator] * count
    else:
        sources = list(generator) if isinstance(generator, Sequence) else [generator]
        if not all(isinstance(source, torch.Generator) for source in sources):
            raise InvalidInputError(
                f"generator must be a torch.Generator or a list of them, got {generator!r}"
            )
        if len(sources) != count:
            raise InvalidInputError(f"got {len(sources)} generators for {count} samples; give one or {count}")
    return [torch.Generator().manual_seed(_draw_seed(source)) for source in sources]


def initial_latents(
    given: Tensor | None, shape: tuple[int, ...], generators: Sequence[torch.Generator], shared: float
) -> Tensor:
    """Where sampling begins, float32: the latents that are given, or noise.

    Args:
        given: By the caller.
        shape: (b, c, f, h, w).
        generators: One per sample.
        shared: Part of the variance that the frames have in common, in [0, 1].

    Raises:
        InvalidInputError: Latents of another shape, or not finite.
    """
    if given is not None:
        if tuple(given.shape) != shape:
            raise InvalidInputError(f"latents must be {shape}, got {tuple(given.shape)}")
        return check_given("latents", given.float())
    own = draw_noise(shape[1:], generators)
    if shared == 0 or shape[2] == 1:
        return own
    return mixed_noise(own, draw_noise((shape[1], 1, *shape[3:]), generators), shared)


def draw_noise(shape: Sequence[int], generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal float32 noise (b, *shape) on the CPU, one row from each generator."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])


def mixed_noise(own: Tensor, common: Tensor, part: Tensor | float) -> Tensor:
    """Noise of which frames have a part of the variance in common: sqrt(part) common + sqrt(1 - part) own.

    The mixed noise model of Ge et al. (2023, "Preserve Your Own Correlation", section 4.1), whose alpha² is
    part / (1 - part).

    Args:
        own: Standard normal noise of every frame (b, c, f, h, w).
        common: The same for all frames (b, c, 1, h, w).
        part: In [0, 1], of all samples or of each (b, 1, 1, 1, 1).
    """
    part = torch.as_tensor(part, dtype=own.dtype, device=own.device)
    return part.sqrt() * common + (1 - part).sqrt() * own


def step_arguments(scheduler: Any, generators: list[torch.Generator], eta: float) -> dict[str, Any]:
    """What `scheduler.step` takes beyond prediction, timestep and latents: its noise source and eta, if it has."""
    parameters = inspect.signature(scheduler.step).parameters
    given = {"generator": generators, "eta": eta}
    return {name: value for name, value in given.items() if name in parameters}


def _draw_seed(source: torch.Generator) -> int:
    return int(torch.randint(2**63 - 1, (1,), generator=source, device=source.device))
