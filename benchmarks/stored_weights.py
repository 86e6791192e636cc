"""What 8-bit weights cost: clips of `mini` beside those of full weights, same seeds, in decibels (PSNR).

python benchmarks/stored_weights.py [--clips 8]
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec

import torch
from PIL import Image

from stylecrafter import StyleCrafterPipeline

PROMPTS = ("a red car", "a blue boat on a lake", "a green tree in a field", "a yellow house at night")


def clips(weights_as: str, count: int) -> list[torch.Tensor]:
    """Frames (f, 3, h, w) in [0, 1] of so many clips."""
    pipe = StyleCrafterPipeline.from_pretrained("mini")
    pipe.set_progress_bar_config(disable=True)
    if weights_as != "full":
        pipe.store_weights(weights_as)
    style = Image.effect_noise((64, 64), 80).convert("RGB")
    style.putdata([(i * 5 % 256, i % 256, i * 3 % 256) for i in range(64 * 64)])
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(count)]
    return [pipe(p, style, seed=i, output_type="pt").frames[0] for i, p in enumerate(prompts)]


def main() -> None:
    """Print a line for each way that is installed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=8)
    count = parser.parse_args().clips
    full = clips("full", count)
    for weights_as in ("fp8", *(["int8"] if find_spec("torchao") else [])):
        pairs = zip(full, clips(weights_as, count), strict=True)
        found = [float(-10 * (a - b).square().mean().log10()) for a, b in pairs]
        shown = ", ".join(f"{value:.1f}" for value in found)
        print(f"{weights_as}: {sum(found) / count:.1f} dB ({shown})", flush=True)


if __name__ == "__main__":
    main()
