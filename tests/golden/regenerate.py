"""Weights and inputs of the expected outputs: a function of (name, shape) alone.

The rule. A tensor's values are standard normal float32 draws from PCG64, seeded with the CRC-32 of its UTF-8
name. As a weight they are scaled by what the last part of the name says: biases by 0.05; embeddings by 0.5;
vectors and scalars become 1 + 0.1 x; everything else is divided by the square root of its fan-in. All in
float32.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Shape = Sequence[int]


def generator(name: str) -> np.random.Generator:
    """The random numbers that belong to a name."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode("utf-8"))))


def normal(name: str, shape: Shape) -> NDArray[np.float32]:
    """Standard normal values; inputs are `normal("input.<name>", shape)`."""
    return np.asarray(generator(name).standard_normal(tuple(shape), dtype=np.float32), dtype=np.float32)


def weight(key: str, shape: Shape) -> NDArray[np.float32]:
    """The values of the parameter with the full checkpoint key `key`."""
    values = normal(key, shape)
    leaf = key.split(".")[-1]
    if leaf.endswith("bias"):
        return values * np.float32(0.05)
    if "emb" in leaf or key.endswith("token_embedding.weight"):
        return values * np.float32(0.5)
    if len(shape) < 2:
        return np.asarray(np.float32(1) + np.float32(0.1) * values, dtype=np.float32)
    return values / np.float32(math.sqrt(math.prod(shape[1:])))


def weights(shapes: Mapping[str, Shape], prefix: str = "") -> dict[str, NDArray[np.float32]]:
    """{key: values} for {key: shape}; the names that seed the values are prefix + key."""
    return {key: weight(prefix + key, shape) for key, shape in shapes.items()}


def token_ids(name: str, shape: Shape, low: int, high: int) -> NDArray[np.int64]:
    """Uniform integers in [low, high)."""
    return (low + np.floor(generator(name).random(tuple(shape)) * (high - low))).astype(np.int64)


def picture(width: int, height: int) -> NDArray[np.uint8]:
    """RGB picture (height, width, 3) with gradients, a checkerboard and rings."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    rings = ((x - width // 2) ** 2 + (y - height // 2) ** 2) // 37 % 256
    checkers = 200 * ((x // 16 + y // 16) % 2) + (x * y) % 50
    return np.stack([(3 * x + 5 * y) % 256, checkers, rings], axis=-1).astype(np.uint8)
