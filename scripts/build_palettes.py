"""Take palettes of five colours from openly licensed pictures: the panoramas of the atlas and the matcaps beside them.

    npm pack @pmndrs/assets@1.7.0
    python scripts/build_palettes.py --package pmndrs-assets-1.7.0.tgz

Colours are the centres of k-means in CIELAB, sorted from dark to light. Of all candidates those are kept that are
furthest from each other and light enough in their lights to be painted with. The result,
`src/stylecrafter/styleworld/atlas/palettes.json`, names for each palette its source. Credits: `atlas/LICENSES.md`.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from build_panoramas import check
from PIL import Image

from stylecrafter.styleworld.photographs import PANORAMAS, load_panoramas

ATLAS = Path(__file__).parents[1] / "src/stylecrafter/styleworld/atlas"
FROM_PANORAMAS, FROM_MATCAPS = 36, 36
COLOURS = 5
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ.sum(1)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] (n, 3) as CIELAB."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    t = linear @ XYZ.T / WHITE
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def palette(pixels: np.ndarray, seed: int) -> np.ndarray:
    """Five colours of (n, 3) sRGB pixels by k-means in CIELAB, dark to light: (5, 3) sRGB."""
    rng = np.random.default_rng(seed)
    pixels = pixels[rng.permutation(len(pixels))[:6000]]
    lab = to_lab(pixels)
    chosen = [lab[0]]
    for _ in range(COLOURS - 1):  # k-means++ with the furthest of a sample
        sample = lab[rng.integers(len(lab), size=400)]
        distance = np.min([((sample - centre) ** 2).sum(1) for centre in chosen], 0)
        chosen.append(sample[rng.choice(len(sample), p=distance / distance.sum())])
    centres = np.stack(chosen)
    for _ in range(30):
        nearest = ((lab[:, None] - centres[None]) ** 2).sum(2).argmin(1)
        centres = np.stack(
            [lab[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(COLOURS)]
        )
    nearest = ((lab[:, None] - centres[None]) ** 2).sum(2).argmin(1)
    colours = np.stack([np.median(pixels[nearest == k], 0) for k in range(COLOURS) if (nearest == k).any()])
    colours = np.concatenate([colours, colours[: COLOURS - len(colours)]])
    return colours[np.argsort(to_lab(colours)[:, 0])]


def from_panoramas() -> Iterator[tuple[str, np.ndarray]]:
    """Palettes of thirds of each panorama, between 35 degrees above and below the horizon."""
    pictures = load_panoramas().permute(0, 2, 3, 1).numpy()
    for panorama, picture in zip(PANORAMAS, pictures, strict=True):
        for part in range(3):
            view = np.roll(picture, -part * 170, 1)[78:178, :170]
            yield f"hdri/{panorama.source}", palette(view.reshape(-1, 3), part)


def from_matcaps(package: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Palettes of the balls of material in the package."""
    with tarfile.open(package) as archive:
        names = sorted(n for n in archive.getnames() if re.fullmatch(r"package/matcaps/\w+\.webp\.js", n))
        for name in names:
            module = archive.extractfile(name).read().decode()
            content = base64.b64decode(re.search(r"base64,([A-Za-z0-9+/=]+)", module).group(1))
            ball = np.asarray(Image.open(io.BytesIO(content)).convert("RGB").resize((96, 96)), float) / 255
            y, x = np.mgrid[:96, :96] - 47.5
            yield (
                name.removeprefix("package/").removesuffix(".webp.js"),
                palette(ball[np.hypot(x, y) < 44], 0),
            )


def furthest(candidates: list[tuple[str, np.ndarray]], count: int) -> list[tuple[str, np.ndarray]]:
    """`count` candidates that are far from each other, of those with shadows and lights."""
    labs = [(source, colours, to_lab(colours)) for source, colours in candidates]
    usable = [entry for entry in labs if entry[2][-1, 0] - entry[2][0, 0] > 38 and entry[2][-1, 0] > 55]
    usable.sort(key=lambda entry: -np.hypot(entry[2][:, 1], entry[2][:, 2]).mean())
    kept = [usable.pop(0)]
    while len(kept) < count and usable:
        distance = [min(np.linalg.norm(e[2] - k[2]) for k in kept) for e in usable]
        kept.append(usable.pop(int(np.argmax(distance))))
    return [(source, colours) for source, colours, _ in kept]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--package", type=Path, required=True, help="pmndrs-assets-1.7.0.tgz")
    parser.add_argument("--output", type=Path, default=ATLAS / "palettes.json")
    args = parser.parse_args()
    check(args.package)
    kept = furthest(list(from_panoramas()), FROM_PANORAMAS)
    kept += furthest(list(from_matcaps(args.package)), FROM_MATCAPS)
    lines = [
        json.dumps({"source": source, "colours": (colours * 255).round().astype(int).tolist()})
        for source, colours in sorted(kept, key=lambda entry: entry[0])
    ]
    args.output.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{args.output}: {len(lines)} palettes")


if __name__ == "__main__":
    main()
