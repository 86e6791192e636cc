"""Colour profiles for pictures that say in a few numbers what their colours are, as PNG files do.

Of these, an "sRGB" mark wins over gamma and primaries, and both lose to a profile, as the PNG specification has it. A
gamma near 1/2.2 and primaries near sRGB's are what most programs write beside sRGB pixels: they change nothing here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: x and y of white, red, green and blue.
SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
#: Numbers of H.273: what a cICP chunk calls its primaries …
_PRIMARIES = {
    1: SRGB,
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
#: … and its curves, as (g, a, b, c, d): (a x + b)^g, and c x below d.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_VIDEO_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES = {
    **dict.fromkeys((1, 6, 14, 15), _VIDEO_CURVE),
    4: (2.2, 1.0, 0.0, 0.0, 0.0),
    5: (2.8, 1.0, 0.0, 0.0, 0.0),
    8: (1.0, 1.0, 0.0, 0.0, 0.0),
    13: _SRGB_CURVE,
}
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_USUAL_GAMMA = (0.42, 0.49)
#: Beyond these a number is a slip, and says nothing.
_GAMMAS = (0.05, 20.0)
_SAME_PRIMARIES = 0.005


def described_profile(info: Mapping[Any, Any]) -> bytes | None:
    """The profile that a picture's few numbers describe.

    Args:
        info: cicp (four numbers of H.273), srgb, gamma (of the encoder, 1/2.2 for most), chromaticity (eight numbers:
            x and y of white, red, green and blue). Pillow leaves the last three in a picture's `info`.

    Returns:
        None where nothing is said, or what is said is sRGB.

    Raises:
        ValueError: It cannot be shown in 8 bits of sRGB, or describes no colours.
    """
    if "cicp" in info:
        primaries, curve, matrix, full = info["cicp"]
        if primaries not in _PRIMARIES or curve not in _CURVES or matrix != 0 or full != 1:
            raise ValueError(
                f"colours {primaries}/{curve}/{matrix}/{full} of H.273 (high dynamic range, or not of pictures)"
            )
        return make_profile(_PRIMARIES[primaries], _CURVES[curve])
    if "srgb" in info or "icc_profile" in info:
        return None
    gamma, primaries = info.get("gamma"), info.get("chromaticity") or SRGB
    gamma = gamma if isinstance(gamma, float) and _GAMMAS[0] <= gamma <= _GAMMAS[1] else None
    usual = gamma is None or _USUAL_GAMMA[0] <= gamma <= _USUAL_GAMMA[1]
    same = len(primaries) == 8 and np.abs(np.subtract(primaries, SRGB)).max() <= _SAME_PRIMARIES
    # Primaries alone say too little: what writes them without a gamma means sRGB's curve or none.
    if gamma is None or (usual and same):
        return None
    curve = _SRGB_CURVE if usual else (1 / gamma, 1.0, 0.0, 0.0, 0.0)
    return make_profile(primaries, curve)


def make_profile(primaries: Sequence[float], curve: Sequence[float]) -> bytes:
    """An ICC profile of RGB from x and y of white, red, green and blue, and a curve (g, a, b, c, d).

    Raises:
        ValueError: The primaries are no triangle around their white.
    """
    columns = _colorants(primaries)
    tags = {
        b"wtpt": _xyz(_D50),
        **{name: _xyz(columns[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _parametric(curve)),
        b"desc": b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, 2, 28) + "a".encode("utf-16-be"),
        b"cprt": b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, 2, 28) + "a".encode("utf-16-be"),
    }
    table, body = b"", b""
    first = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", first + len(body), len(value))
        body += value + b"\0" * (-len(value) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s", first + len(body), b"", 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"", b"acsp"
    )
    return header.ljust(68, b"\0") + _fixed(_D50) + b"\0" * 48 + struct.pack(">I", len(tags)) + table + body


def _colorants(primaries: Sequence[float]) -> NDArray[np.float64]:
    """XYZ of the three primaries as columns, adapted to D50 as profiles want it (Bradford)."""
    points = np.asarray(primaries, np.float64).reshape(4, 2)
    if not np.isfinite(points).all() or (points[:, 1] <= 1e-6).any():
        raise ValueError("its primaries are no colours")
    xyz = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
    white, colours = xyz[:, 0], xyz[:, 1:]
    if abs(np.linalg.det(colours)) < 1e-6:
        raise ValueError("its primaries lie on a line")
    columns = colours * np.linalg.solve(colours, white)
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ columns
    if not np.isfinite(adapted).all() or np.abs(adapted).max() > 100:
        raise ValueError("its primaries are no colours")
    return adapted


def _fixed(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _parametric(curve: Sequence[float]) -> bytes:
    return b"para\0\0\0\0\0\3\0\0" + _fixed(curve)
