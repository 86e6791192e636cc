"""Small ICC profiles for tests, built from the format's definition."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np

#: XYZ (D50) of red, green and blue.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
D50 = (0.9642, 1.0, 0.8249)

Curve = float | Callable[[np.ndarray], np.ndarray]


def srgb_to_linear(x: np.ndarray) -> np.ndarray:
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(x: np.ndarray) -> np.ndarray:
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055)


def rgb_profile(
    colorants: Sequence[Sequence[float]] = SRGB, curve: Curve = 2.2, name: str = "test", points: int = 1024
) -> bytes:
    trc = _curve(curve, points)
    tags = {b"desc": _text(name), b"wtpt": _xyz(D50)}
    tags |= {kind: _xyz(values) for kind, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), trc)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(curve: Curve, name: str = "grey", points: int = 1024) -> bytes:
    tags = {b"desc": _text(name), b"wtpt": _xyz(D50), b"kTRC": _curve(curve, points)}
    return _profile(b"mntr", b"GRAY", b"XYZ ", tags)


def cmyk_profile(lightness_of_ink: Callable[[int, int, int, int], tuple[float, float, float]]) -> bytes:
    """Two grid points for each ink; the function says the L, a, b of each corner (0 or 1 of each ink)."""
    grid = b""
    for corner in np.ndindex(2, 2, 2, 2):
        lightness, a, b = lightness_of_ink(*corner)
        grid += bytes([round(lightness * 2.55), round(a) + 128, round(b) + 128])
    identity = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + identity * 4 + grid + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"desc": _text("inks"), b"wtpt": _xyz(D50), b"A2B0": lut})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    first = 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        value += b"\0" * (-len(value) % 4)
        table += tag + struct.pack(">II", first + len(body), len(value))
        body += value
    head = struct.pack(
        ">I4sI4s4s4s12s4s", first + len(body), b"test", 0x02100000, kind, space, connection, b"", b"acsp"
    )
    head = head.ljust(68, b"\0") + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(curve: Curve, points: int) -> bytes:
    if callable(curve):
        values = np.rint(curve(np.linspace(0, 1, points)) * 65535).astype(">u2")
        return b"curv\0\0\0\0" + struct.pack(">I", points) + values.tobytes()
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(curve * 256)) + b"\0\0"


def _text(name: str) -> bytes:
    data = name.encode("ascii") + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(data)) + data + b"\0" * (4 + 4 + 2 + 1 + 67)
