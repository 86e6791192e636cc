"""Adapters trained in the paper's other ways on one base: tables 4, 5 and S8, and the two halves of decoupling.

Every variant starts from the same base with a fresh adapter and has the same steps, batches and seed; it differs in its
strategy alone. What only the adapter decides (fusion, factors, extractor, decoupling) is asked of single pictures, as
in tables 4 and S8; what the temporal layers decide is asked of clips, as in table 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stylecrafter.evaluation.truth.world_set import world_set_for
from stylecrafter.generation.models import look_up_model
from stylecrafter.studies.asking import Asked
from stylecrafter.studies.claims import check_claims, read_claims
from stylecrafter.studies.result import StudyResult, StudySpec
from stylecrafter.studies.trained import trained_model
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.strategies import find_strategy

#: The paper's stage 1, which the others are compared with; pictures do not pass through what stage 2 trains.
OURS = "adapter_only"
PICTURE_STRATEGIES = (
    OURS,
    "no_augmentation",
    "full_captions",
    "whole_references",
    "cross_references",
    "attach_to_text",
    "fixed_scales",
    "mlp",
    "transformer",
)
CLIP_STRATEGIES = (OURS, "two_stage", "joint")

TABLE_4, DECOUPLING, TABLE_5 = (read_claims(name) for name in ("table_4", "decoupling", "table_5"))


@dataclass(frozen=True, kw_only=True)
class VariantsSpec(StudySpec):
    """How variants are trained and asked.

    Attributes:
        adapter_steps: Of stage 1, and of the joint stage.
        temporal_steps: Of stage 2.
        batch_size: Pictures a step.
        clip_batch_size: Clips a step.
        learning_rate: Of stage 1; stage 2 has two fifths of it.
        shared_noise: Part of the noise's variance that a clip's frames have in common in stage 2 and in joint training
            (`training.stages.DiffusionConfig.shared_noise`); as the base was trained.
        references: Of the held-out set.
        prompts: Of the held-out set, for pictures.
        clip_prompts: The same for clips, which cost more.
        unseen_kinds: How many of the references are of kinds that training never showed.
        frames: Of clips; None: the model's.
        of_pictures: Strategies that are asked for pictures; claims about others are left out.
        of_clips: Strategies that are asked for clips.
        mixed_precision: Train in bfloat16 where tensors may be; false for processors without its arithmetic.
    """

    adapter_steps: int = 3000
    temporal_steps: int = 600
    batch_size: int = 32
    clip_batch_size: int = 3
    learning_rate: float = 1e-3
    shared_noise: float = 0.9
    references: int = 20
    prompts: int = 12
    clip_prompts: int = 4
    unseen_kinds: int = 6
    frames: int | None = None
    of_pictures: tuple[str, ...] = PICTURE_STRATEGIES
    of_clips: tuple[str, ...] = CLIP_STRATEGIES
    mixed_precision: bool = True


QUICK = VariantsSpec(
    adapter_steps=1, temporal_steps=1, batch_size=4, clip_batch_size=1, references=3, prompts=2, clip_prompts=1,
    unseen_kinds=1, steps=2, frames=3, of_pictures=(OURS, "full_captions"), of_clips=(OURS, "two_stage"),
    mixed_precision=False,
)  # fmt: skip


#: See `training.stages.DiffusionConfig.scale_penalty`.
SCALE_PENALTY = 3e-4


def run(
    model: str,
    folder: Path,
    spec: VariantsSpec = VariantsSpec(),  # noqa: B008  # frozen
    *,
    seed: int = 0,
) -> StudyResult:
    """Train the variants, draw the held-out set with each, and test the claims; see `run_study.run_study`.

    The base may have an adapter or not; its temporal layers should not have seen stage 2 yet
    (`stylecrafter train … --until base` leaves such a model).
    """
    variants = _Variants(model, folder, spec, seed)
    pictures = variants.ask("pictures", spec.of_pictures, spec.prompts, frames=1)
    clips = variants.ask("clips", spec.of_clips, spec.clip_prompts, frames=spec.frames)
    tables = (
        pictures.scores("Pictures"),
        check_claims(TABLE_4, pictures.runs, "Orderings of tables 4 and S8"),
        check_claims(DECOUPLING, pictures.runs, "Decoupling, one half at a time"),
        clips.scores("Clips"),
        check_claims(TABLE_5, clips.runs, "Orderings of table 5"),
    )
    of_pictures = ("object_right", "style_found_by_probe", "style_vector", "leaked")
    of_clips = ("style_found_by_probe", "flicker", "warping_error")
    return StudyResult(
        "Training strategies, ablations and decoupling",
        tables,
        plots={
            **{f"pictures_{name}": pictures.bars(name) for name in of_pictures},
            **{f"clips_{name}": clips.bars(name) for name in of_clips},
        },
        data={"pictures": pictures.data(), "clips": clips.data()},
        settings={"study": "variants", "model": model, "seed": seed, **asdict(spec)},
    )


class _Variants:
    """Trains variants in a folder, makes their clips and measures them; nothing is done twice."""

    def __init__(self, model: str, folder: Path, spec: VariantsSpec, seed: int) -> None:
        self.model, self.folder, self.spec = look_up_model(model), folder, spec
        self.seed = seed
        self.world = world_set_for(
            model, references=spec.references, unseen_kinds=spec.unseen_kinds, seed=seed
        )

    def ask(self, kind: str, strategies: Sequence[str], prompts: int, frames: int | None) -> Asked:
        """Every strategy's model asked a set of so many prompts."""
        drawn = self.world.model_copy(update={"prompts": prompts})
        asked = Asked(kind, drawn, self.spec, frames, self.folder)
        for name in strategies:
            asked.ask(name, str(self.trained(name)))
        return asked

    def trained(self, strategy: str) -> Path:
        """The model of a strategy, trained where it is not there yet.

        Raises:
            OutputError: The folder holds the variant as other settings, or another base, made it.
        """
        return trained_model(self._recipe(strategy), self.folder / "variants" / strategy)

    def _recipe(self, strategy: str) -> Recipe:
        spec, world = self.spec, {"kind": "styleworld", "vocabulary": self.world.vocabulary}
        precision = "bf16" if spec.mixed_precision else "no"

        def training(steps: int, learning_rate: float, ema_decay: float) -> dict[str, Any]:
            return {
                "mixed_precision": precision,
                "steps": steps,
                "warmup_steps": min(50, steps),
                "learning_rate": learning_rate,
                "ema_decay": ema_decay,
            }

        stage_1 = training(spec.adapter_steps, spec.learning_rate, 0.998)
        stage_2 = training(spec.temporal_steps, 0.4 * spec.learning_rate, 0.99)
        adapter = {"stage": "adapter", "pictures": "styled", "train": stage_1,
                   "options": {"picture_reuse": 4, "scale_penalty": SCALE_PENALTY}}  # fmt: skip
        temporal: dict[str, Any] = {"stage": "temporal", "pictures": "styled", "clips": "plain", "train": stage_2,
                    "options": {"picture_reuse": 4, "clip_ratio": 0.8,
                                "shared_noise": spec.shared_noise}}  # fmt: skip
        content: dict[str, Any] = {
            "name": strategy,
            "seed": self.seed,
            "model": {"pretrained": str(self.model.folder), "new_adapter": True},
            "data": {
                "styled": {**world, "batch_size": spec.batch_size, "references": "crop"},
                "plain": {**world, "batch_size": spec.clip_batch_size, "num_frames": 16, "styled_ratio": 0.0},
            },
            "stages": [adapter, temporal],
        }
        if strategy == "two_stage":
            # Stage 1 is that of `adapter_only`, step for step, so that it is taken from there.
            content["model"] = {"pretrained": str(self.trained(OURS))}
            content["stages"] = [temporal]
            return Recipe.model_validate(content)
        if strategy == "joint":
            # The paper's alternative has the steps of both stages, on the mix of the second.
            joint = {**stage_1, "steps": spec.adapter_steps + spec.temporal_steps}
            content["stages"] = [{**temporal, "stage": "joint", "train": joint,
                                  "options": {**temporal["options"], "scale_penalty": SCALE_PENALTY}}]  # fmt: skip
        asked = find_strategy(strategy)
        if strategy not in spec.of_clips:
            # Pictures do not pass through what stage 2 trains.
            asked = replace(asked, stages=tuple(stage for stage in asked.stages if stage != "temporal"))
        return Recipe.model_validate(content).with_strategy(asked)
