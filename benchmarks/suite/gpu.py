"""One GPU in under eight minutes: the published procedure, ours in bf16, `fast`, the chip's peak, memory, long clips.

Nothing is fetched; all weights are random. What would not fit the time is measured in part, which is said.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Cost, finish, measured, taking_turns
from benchmarks.models import videocrafter
from benchmarks.published.clip import conditions_of, decoded, sampled
from benchmarks.published.unet import published_copy
from benchmarks.results import Comparison, Facts, Result
from benchmarks.settings import Settings
from benchmarks.suite.one_pass import pass_inputs
from benchmarks.suite.whole_clip import PASSES, PROMPT, same_settings, start
from stylecrafter.pipelines.sampling_params import SamplingParams

#: Frames, height, width, steps, frames of the long clip.
CLIP = {"full": (16, 320, 512, 50, 64), "tiny": (2, 32, 32, 2, 4)}
#: Steps of the published procedure that are measured; of all, the rest is computed.
PLAIN_STEPS = 3
#: Seconds after which no further part is begun: the command has eight minutes.
BUDGET = 400.0
PUBLISHED, FUSED = "published, float32", "published, float32, xformers"


def run(settings: Settings) -> list[Result]:
    """All parts, in the order of their weight; those that the time does not reach are said."""
    return _Parts(settings).run()


class _Parts:
    def __init__(self, settings: Settings) -> None:
        self.settings, self.device = settings, settings.device
        self.frames, self.height, self.width, self.steps, self.long = CLIP[settings.size]
        self.started = time.monotonic()
        self.picture = Image.open(settings.picture).convert("RGB")
        self.left_out: list[str] = []
        self.size = {"num_frames": self.frames, "height": self.height, "width": self.width}

    def run(self) -> list[Result]:
        dtype = torch.bfloat16
        plain = self.published()
        pipe = videocrafter(self.settings.size, self.device, dtype)
        results: list[Result] = [self.clips(plain, pipe)]
        if self.in_time("share of the peak"):
            results.append(self.share_of_peak(pipe, dtype))
        if self.in_time("long clips and low memory"):
            results.append(self.memory(pipe))
        took = time.monotonic() - self.started
        notes = [f"left out, for want of time: {part}" for part in self.left_out]
        return [*results, Facts("This command", {"seconds": round(took, 1)}, notes)]

    def in_time(self, part: str) -> bool:
        """Whether there is time to begin; what there is not is noted."""
        if time.monotonic() - self.started < BUDGET:
            return True
        self.left_out.append(part)
        return False

    def published(self) -> dict[str, Cost]:
        """What a whole clip costs by the published procedure, from a few of its steps."""
        pipe = videocrafter(self.settings.size, self.device)
        noise = start(pipe, **self.size)
        conditions = conditions_of(pipe, PROMPT, self.picture)
        found = {}
        for name, fused in ((PUBLISHED, False), (FUSED, True)):
            plain = published_copy(pipe.unet, pipe.style_adapter, fused=fused)
            parts = {
                "encode": lambda: conditions_of(pipe, PROMPT, self.picture),
                "steps": lambda plain=plain: self._few_steps(pipe, plain, noise, conditions),
                "decode": lambda: decoded(pipe.vae, noise),
            }
            costs = {key: runs[0] for key, runs in taking_turns(parts, 1, self.device).items()}
            steps = costs["steps"] * (self.steps / min(PLAIN_STEPS, self.steps))
            found[name] = costs["encode"] + steps + costs["decode"]
        return found

    def _few_steps(self, pipe: Any, plain: Any, noise: Any, conditions: Any) -> None:
        pipe.scheduler.set_timesteps(self.steps)
        sampled(plain, noise, conditions, pipe.scheduler, min(PLAIN_STEPS, self.steps))

    def clips(self, plain: dict[str, Cost], pipe: Any) -> Comparison:
        """Whole clips by ours beside it."""
        dtype = str(pipe.unet.dtype).removeprefix("torch.")
        kinds = {f"ours, {dtype}, the same {self.steps} steps": same_settings(self.steps)}
        if "fast" in SamplingParams.model_fields:
            kinds[f"ours, {dtype}, fast"] = {"fast": True, "eta": 0.0}
        repeats = self.settings.repeats
        costs: dict[str, list[Cost]] = {name: [cost] * repeats for name, cost in plain.items()}
        runs = {name: lambda knobs=knobs: self.clip(pipe, **knobs) for name, knobs in kinds.items()}
        costs |= taking_turns(runs, repeats, self.device)
        measured_steps = min(PLAIN_STEPS, self.steps)
        notes = [
            f"{self.frames} frames of {self.width} x {self.height}, random weights, from prompt and picture to frames",
            f"published: {measured_steps} of {self.steps} steps measured once ({PASSES} passes each, on their own), "
            "the others taken to cost as much; frames decoded one by one",
            f"TF32: convolutions {torch.backends.cudnn.allow_tf32}, matrix products "
            f"{torch.backends.cuda.matmul.allow_tf32}, as torch has it by itself",
        ]
        if len(kinds) == 1:
            notes.append("fast: this version has no such setting")
        return Comparison("A clip on this device", "end to end", costs, {}, notes)

    def clip(self, pipe: Any, **knobs: Any) -> Any:
        """One clip of ours, as tensors."""
        return pipe(
            PROMPT, style_images=self.picture, seed=7, output_type="pt", **{**self.size, **knobs}
        ).frames

    def share_of_peak(self, pipe: Any, dtype: torch.dtype) -> Facts:
        """Operations of the UNet per second, over those of one large matrix product."""
        side = 8192 if self.settings.full else 256
        a, b = (torch.randn(side, side, device=self.device, dtype=dtype) for _ in range(2))
        many = 20 if self.settings.full else 2
        products = taking_turns({"product": lambda: [a @ b for _ in range(many)]}, 3, self.device)["product"]
        peak = many * 2 * side**3 / min(cost.wall for cost in products)
        latents, *others = pass_inputs(pipe, self.frames, 8)
        shape = (
            *latents.shape[:3],
            self.height // pipe.vae_scale_factor,
            self.width // pipe.vae_scale_factor,
        )
        latents = torch.randn(shape, device=self.device, dtype=dtype)
        time_, *tensors = others
        tensors = [tensor.to(dtype) for tensor in tensors]

        def one() -> None:
            with torch.no_grad():
                pipe.unet(latents, time_, *tensors)

        counter = FlopCounterMode(display=False)
        with counter:
            one()
        # Several in a row: what the CPU does meanwhile is hidden, as it is in a clip.
        costs = taking_turns({"passes": lambda: [one() for _ in range(many)]}, 3, self.device)["passes"]
        seconds = min(cost.wall for cost in costs) / many
        reached = counter.get_total_flops() / seconds
        return Facts(
            "Share of the peak in the UNet",
            {
                "operations of a pass": f"{counter.get_total_flops() / 1e12:.3g} TFLOP",
                "a pass": f"{seconds * 1e3:.4g} ms",
                f"a matrix product of {side} x {side}, {dtype}": f"{peak / 1e12:.4g} TFLOP/s",
                "the UNet": f"{reached / 1e12:.4g} TFLOP/s",
                "share": f"{reached / peak:.1%}",
            },
        )

    def memory(self, pipe: Any) -> Facts:
        """Peaks of a clip and of a longer one in windows, as they are and with low memory."""
        few = {**same_settings(2), "num_inference_steps": 2}
        gib = lambda cost: f"{(cost.peak or 0) / 2**30:.3f} GiB"  # noqa: E731
        numbers: dict[str, str] = {}
        peaks = {}
        for frames in (self.frames, self.long):
            window = {"window": self.frames} if frames > self.frames else {}
            cost = measured(lambda n=frames, w=window: self.clip(pipe, **few, **w, num_frames=n), self.device)
            peaks[frames] = cost.peak or 0
            numbers[f"{frames} frames"] = gib(cost)
        numbers["the longer over the shorter"] = f"{peaks[self.long] / max(1, peaks[self.frames]):.3f}"
        notes = ["most bytes of tensors at once, two steps; on a CPU those of the whole process"]
        if not hasattr(pipe, "enable_low_memory"):
            notes.append("low memory: this version has no such setting")
            return Facts("Peak memory", numbers, notes)
        pipe.enable_low_memory(self.device)
        finish(self.device)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.clip(pipe, **few)
        numbers[f"{self.frames} frames, low memory"] = gib(
            measured(lambda: self.clip(pipe, **few), self.device)
        )
        pipe.disable_low_memory()
        return Facts("Peak memory", numbers, notes)
