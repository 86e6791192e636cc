"""How many pictures of StyleWorld are drawn per second?

    python benchmarks/styleworld_speed.py [--device cuda] [--threads 2] [--size 128] [--vocabulary full] [--frames 1]

Draws batches of the whole world (all style kinds, drawn and photographic scenes mixed), sampling included, and prints
one JSON object. On an accelerator the clock stops when the device has finished. `--profile` lists what takes longest.
"""

from __future__ import annotations

import argparse
import json
import time

import torch

from stylecrafter.styleworld import splits, world


def measure(args: argparse.Namespace) -> dict[str, object]:
    device = torch.device(args.device)
    vocabulary = splits.find_vocabulary(args.vocabulary)
    generator = torch.Generator().manual_seed(args.seed)

    def draw() -> None:
        batch = world.sample(args.batch, generator, vocabulary=vocabulary)
        world.render(batch, args.size, args.frames, device=device)

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(args.warmup):
        draw()
    finish()
    seconds = []
    for _ in range(args.repeats):
        started = time.perf_counter()
        draw()
        finish()
        seconds.append(time.perf_counter() - started)
    pictures = args.batch * args.frames
    result: dict[str, object] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "vocabulary": args.vocabulary,
        "pictures_of_a_batch": pictures,
        "size": args.size,
        "pictures_per_second": round(pictures / (sum(seconds) / len(seconds)), 1),
        "pictures_per_second_of_the_best_batch": round(pictures / min(seconds), 1),
    }
    if args.profile:
        with torch.profiler.profile() as profile:
            draw()
            finish()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of the processor (default: as torch chooses)")
    parser.add_argument("--vocabulary", default="full")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    print(json.dumps(measure(args)))


if __name__ == "__main__":
    main()
