"""Turn the CC0 panoramas of an npm package into the photographic scenes of StyleWorld.

    npm pack @pmndrs/assets@1.7.0
    pip install OpenEXR==3.5.3
    python scripts/build_panoramas.py --package pmndrs-assets-1.7.0.tgz

The package is checked against its sha512. Each panorama (OpenEXR in base64, 512 × 256, scene-linear) is exposed by its
own mean, tone-mapped, and stacked into one picture, `src/stylecrafter/styleworld/atlas/panoramas.webp`, in the order
of `stylecrafter.styleworld.photographs.PANORAMAS`. Credits: `atlas/LICENSES.md`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from stylecrafter.styleworld.photographs import PANORAMA_HEIGHT, PANORAMA_WIDTH, PANORAMAS

SHA512 = "zHmKNS+3Jvu9K3zJBQfYQKT9Pn9IQt8s0q/eJC3CXKpWpyg6IBa+ivN9NgDn+fDT2AVjUh2YRZ//GXUueuAdCg=="
#: Scene-linear value that the mean of a panorama is brought to, and the one that becomes white.
KEY, WHITE = 0.2, 3.0
#: Darker keys where the exposure of the mean would turn night into day.
KEYS = {"night": 0.05, "studio": 0.28}
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
#: Multiple of the mean from which on a light is plain white.
LIMIT = 60.0
QUALITY = 92


def check(package: Path) -> bytes:
    """The bytes of the package, if they are those that this script was written for."""
    content = package.read_bytes()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != SHA512:
        raise SystemExit(f"{package} has sha512 {found}, not {SHA512}: another version, or a broken download")
    return content


def decode(module: str) -> np.ndarray:
    """The panorama in a JavaScript module: (h, w, 3) float32, scene-linear."""
    import OpenEXR

    match = re.search(r"base64,([A-Za-z0-9+/=]+)", module)
    if match is None:
        raise SystemExit("a panorama module holds no base64 data")
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(base64.b64decode(match.group(1)))
        file.flush()
        with OpenEXR.File(file.name) as picture:
            return picture.channels()["RGB"].pixels.astype(np.float32)[..., :3]


def spread(field: np.ndarray, radius: int) -> np.ndarray:
    """The greatest value within `radius` pixels, per channel; the sides are one seam."""
    out = field
    for axis, mode in ((0, "edge"), (1, "wrap")):
        pads = [(radius, radius) if a == axis else (0, 0) for a in range(field.ndim)]
        padded = np.pad(out, pads, mode=mode)
        length = field.shape[axis]
        parts = [padded.take(range(i, i + length), axis) for i in range(2 * radius + 1)]
        out = np.maximum.reduce(parts)
    return out


def mend(linear: np.ndarray, limit: float) -> np.ndarray:
    """Take out what resampling left around lamps and sun: dark rings, and lights that lost a channel.

    What is brighter than `limit` in any channel is white; around it, dark gaps up to 7 pixels wide are closed.
    """
    bright = linear.max(-1, keepdims=True) > limit
    clean = np.where(bright, limit, linear.clip(0, limit))
    closed = -spread(-spread(clean, 3), 3)
    return np.where(spread(bright.astype(np.float32), 4) > 0, np.maximum(clean, closed), clean)


def tone_map(linear: np.ndarray, key: float) -> np.ndarray:
    """Expose the geometric mean over the sphere to `key`, compress the lights, encode as sRGB: (h, w, 3) uint8."""
    height = linear.shape[0]
    latitude = (np.arange(height) + 0.5) / height * np.pi
    weight = np.broadcast_to(np.sin(latitude)[:, None], linear.shape[:2])
    luma = linear @ LUMA
    mean = np.exp((np.log(luma.clip(1e-4)) * weight).sum() / weight.sum())
    linear = mend(linear, LIMIT * mean)
    exposed = linear @ LUMA * key / mean
    # Compressed by luma, so that colours keep their hue: Reinhard's curve with a white point.
    ratio = (1 + exposed / WHITE**2) / (1 + exposed) * key / mean
    mapped = (linear * ratio[..., None]).clip(0, 1)
    encoded = np.where(mapped <= 0.0031308, mapped * 12.92, 1.055 * mapped.clip(1e-8) ** (1 / 2.4) - 0.055)
    return (encoded.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--package", type=Path, required=True, help="pmndrs-assets-1.7.0.tgz")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / "src/stylecrafter/styleworld/atlas/panoramas.webp",
    )
    args = parser.parse_args()
    check(args.package)
    pictures = []
    with tarfile.open(args.package) as archive:
        for panorama in PANORAMAS:
            member = archive.extractfile(f"package/hdri/{panorama.source}.exr.js")
            if member is None:
                raise SystemExit(f"{args.package} holds no panorama {panorama.source}")
            picture = tone_map(decode(member.read().decode()), KEYS.get(panorama.source, KEY))
            if picture.shape != (PANORAMA_HEIGHT, PANORAMA_WIDTH, 3):
                raise SystemExit(f"{panorama.source} is {picture.shape}")
            pictures.append(picture)
    Image.fromarray(np.concatenate(pictures)).save(args.output, quality=QUALITY, method=6)
    print(f"{args.output}: {len(pictures)} panoramas, {args.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
