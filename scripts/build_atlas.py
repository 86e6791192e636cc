"""Pack the sprite atlas of StyleWorld from openly licensed drawing sets.

    npm pack <each package of PACKAGES below> && for every tarball: mkdir NAME && tar xzf NAME.tgz -C NAME
    pip install pyvips pyvips-binary
    python scripts/build_atlas.py --packages FOLDER_WITH_THE_UNPACKED_PACKAGES --index objects.json

`objects.json` maps a CLDR short name to {"hex": code point, "icons": {set: icon name}}. The result is one lossless
WebP picture per drawing set in `src/stylecrafter/styleworld/atlas/`, 16 sprites a row, in the order of
`stylecrafter.styleworld.objects.OBJECTS`. Licences and credits of the sets: `atlas/LICENSES.md`.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
import pyvips
from PIL import Image, ImageDraw, ImageFont

from stylecrafter.styleworld.objects import ATLAS_COLUMNS, OBJECTS, SPRITE_SIZE

ICONIFY = {
    "noto": "iconify-json-noto-1.2.9",
    "twemoji": "iconify-json-twemoji-1.2.5",
    "fluent_flat": "iconify-json-fluent-emoji-flat-1.2.6",
    "noto_v1": "iconify-json-noto-v1-1.2.5",
    "emojione": "iconify-json-emojione-1.2.3",
    "fluent_hc": "iconify-json-fluent-emoji-high-contrast-1.2.6",
}
FLUENT_3D = "lobehub-fluent-emoji-3d-1.1.0"
LINE_FONT = "expo-google-fonts-noto-emoji-0.4.7"


def fit(picture: Image.Image, size: int) -> np.ndarray:
    """Crop to what is drawn and centre it in a square with a margin of 1/24: (size, size, 4) uint8."""
    box = picture.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    picture = picture.crop(box)
    inner = size - 2 * (size // 24)
    scale = inner / max(picture.size)
    target = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    premultiplied = np.asarray(picture, np.float32) / 255
    premultiplied[..., :3] *= premultiplied[..., 3:]
    planes = [
        np.asarray(Image.fromarray(premultiplied[..., c]).resize(target, Image.Resampling.LANCZOS))
        for c in range(4)
    ]
    small = np.stack(planes, -1).clip(0, 1)
    small[..., :3] = np.where(small[..., 3:] > 1e-3, small[..., :3] / np.maximum(small[..., 3:], 1e-3), 0)
    out = np.zeros((size, size, 4), np.float32)
    top, left = (size - target[1]) // 2, (size - target[0]) // 2
    out[top : top + target[1], left : left + target[0]] = small
    return (out.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def iconify_sprite(icons: dict, name: str) -> Image.Image:
    entry = icons["icons"].get(name)
    while entry is None:
        name = icons["aliases"][name]["parent"]
        entry = icons["icons"].get(name)
    width = entry.get("width", icons.get("width", 16))
    height = entry.get("height", icons.get("height", 16))
    box = f"{entry.get('left', 0)} {entry.get('top', 0)} {width} {height}"
    body = entry["body"].replace("currentColor", "#000000")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}" height="{height}" viewBox="{box}">{body}</svg>'
    )
    pixels = pyvips.Image.svgload_buffer(svg.encode(), scale=256 / width).numpy()
    return Image.fromarray(pixels, "RGBA")


def line_sprite(font: ImageFont.FreeTypeFont, hex_code: str) -> Image.Image:
    canvas = Image.new("L", (400, 400), 0)
    ImageDraw.Draw(canvas).text((60, 60), chr(int(hex_code.split("-")[0], 16)), font=font, fill=255)
    picture = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    picture.putalpha(canvas)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parents[1] / "src/stylecrafter/styleworld/atlas"
    )
    args = parser.parse_args()
    index = json.loads(args.index.read_text())
    args.output.mkdir(parents=True, exist_ok=True)
    font_file = next((args.packages / LINE_FONT).rglob("*500Medium.ttf"))
    font = ImageFont.truetype(str(font_file), 256)
    packs = [*ICONIFY, "fluent_3d", "line"]
    for pack in packs:
        icons = (
            json.loads((args.packages / ICONIFY[pack] / "package/icons.json").read_text())
            if pack in ICONIFY
            else {}
        )
        rows = -(-len(OBJECTS) // ATLAS_COLUMNS)
        sheet = np.zeros((rows * SPRITE_SIZE, ATLAS_COLUMNS * SPRITE_SIZE, 4), np.uint8)
        for i, thing in enumerate(OBJECTS):
            entry = index[thing.source]
            if pack == "line":
                sprite = line_sprite(font, entry["hex"])
            elif pack == "fluent_3d":
                data = (
                    args.packages / FLUENT_3D / "package/assets" / entry["icons"]["fluent_3d"]
                ).read_bytes()
                sprite = Image.open(io.BytesIO(data)).convert("RGBA")
            else:
                sprite = iconify_sprite(icons, entry["icons"][pack])
            y, x = divmod(i, ATLAS_COLUMNS)
            sheet[y * SPRITE_SIZE : (y + 1) * SPRITE_SIZE, x * SPRITE_SIZE : (x + 1) * SPRITE_SIZE] = fit(
                sprite, SPRITE_SIZE
            )
        path = args.output / f"{pack}.webp"
        Image.fromarray(sheet, "RGBA").save(path, lossless=True, quality=100, method=6)
        print(f"{path}: {len(OBJECTS)} sprites, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
