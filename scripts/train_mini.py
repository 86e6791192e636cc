"""Train the embedded model `mini` from nothing, stage by stage, and write it as a model folder.

    python scripts/train_mini.py all --folder runs/mini            # every stage in order, then the export
    python scripts/train_mini.py base --folder runs/mini           # one stage; goes on where it was stopped
    python scripts/train_mini.py export --folder runs/mini --output src/stylecrafter/weights/mini

Each stage saves a checkpoint every few minutes and may be killed at any moment: the same command goes on from there.
`--steps` changes the length of a stage; `--bf16` uses bfloat16 arithmetic where the processor has it.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import torch

from stylecrafter.training.mini import STAGES, MiniBuild

#: What to train the weights with. How the shipped ones came about, detours included: docs/models/mini.md.
RECIPE: dict[str, dict[str, Any]] = {
    "autoencoder": {
        "steps": 900,
        "learning_rate": 2e-3,
        "warmup_steps": 40,
        "ema_decay": 0.98,
        "data": {"batch_size": 24},
    },
    "clip": {
        "steps": 360,
        "learning_rate": 1e-3,
        "warmup_steps": 50,
        "ema_decay": 0.9,
        "weight_decay": 0.05,
        "data": {"batch_size": 128},
    },
    "base": {
        "steps": 20_000,
        "learning_rate": 9e-4,
        "warmup_steps": 100,
        "ema_decay": 0.9985,
        "data": {
            "image_batch": 32, "clip_batch": 2, "clip_ratio": 0.12, "styled_ratio": 0.6, "unnamed_style_ratio": 0.15,
            "text_dropout": 0.1, "middle_timesteps": True, "picture_reuse": 4, "train_text_encoder": True,
        },
    },
    "adapter": {
        "steps": 2600,
        "learning_rate": 1e-3,
        "warmup_steps": 50,
        "ema_decay": 0.997,
        "data": {"image_batch": 32, "cross_reference_ratio": 0.5, "picture_reuse": 4},
    },
    "temporal": {
        "steps": 500,
        "learning_rate": 4e-4,
        "warmup_steps": 30,
        "ema_decay": 0.99,
        "data": {
            "image_batch": 32, "clip_batch": 3, "clip_ratio": 0.8, "cross_reference_ratio": 0.5, "picture_reuse": 4,
        },
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=[*STAGES, "all", "export"])
    parser.add_argument("--folder", type=Path, default=Path("runs/mini"))
    parser.add_argument("--output", type=Path, default=Path("src/stylecrafter/weights/mini"))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if args.threads:
        torch.set_num_threads(args.threads)
    build = MiniBuild(args.folder, device=args.device, mixed_precision=args.bf16)
    for stage in STAGES if args.stage == "all" else (args.stage,):
        if stage == "export":
            break
        config = {**RECIPE[stage], **({"steps": args.steps} if args.steps else {})}
        trainer = build.trainer(stage, **config)
        trainer.resume()
        trainer.run()
    if args.stage in ("all", "export"):
        build.export(args.output)
        logging.info("wrote %s", args.output)


if __name__ == "__main__":
    main()
