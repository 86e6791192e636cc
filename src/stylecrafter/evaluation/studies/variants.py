"""Adapters trained in the paper's other ways on one base: tables 4, 5 and S8, and the two halves of decoupling.

Every variant starts from the same base with a fresh adapter and has the same steps, batches and seed; it differs in its
strategy alone. What only the adapter decides (fusion, factors, extractor, decoupling) is asked of single pictures, as
in tables 4 and S8; what the temporal layers decide is asked of clips, as in table 5.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.choices import Method
from stylecrafter.evaluation.methods import Request, make_clips
from stylecrafter.evaluation.report import shown, summarise, titled
from stylecrafter.evaluation.run import EvaluationRequest, measurers_for, world_set_for
from stylecrafter.evaluation.runner import Evaluation, measure_folder
from stylecrafter.evaluation.studies.claims import Claim, check_claims
from stylecrafter.evaluation.studies.plots import bars
from stylecrafter.evaluation.studies.result import StudyResult, Table
from stylecrafter.evaluation.testset import WorldSetSpec, read_testset, write_world_set
from stylecrafter.generation.settings import GenerationSettings, look_up_model
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.run import RecipeRun
from stylecrafter.training.strategies import find_strategy

logger = logging.getLogger(__name__)

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

TABLE_4 = (
    Claim("4", "no_augmentation", OURS, "style", "worse", (0.4005, 0.4836)),
    Claim("4", "no_augmentation", OURS, "text", "better", (0.3173, 0.3028)),
    Claim("4", "attach_to_text", OURS, "style", "better", (0.7332, 0.4836)),
    Claim("4", "attach_to_text", OURS, "text", "worse", (0.0983, 0.3028)),
    Claim("4", "fixed_scales", OURS, "style", "better", (0.4925, 0.4836)),
    Claim("4", "fixed_scales", OURS, "text", "worse", (0.2807, 0.3028)),
    Claim("S8", "mlp", OURS, "style", "worse", (0.2843, 0.4836)),
    Claim("S8", "mlp", OURS, "text", "better", (0.3415, 0.3028)),
    Claim("S8", "transformer", OURS, "style", "worse", (0.4149, 0.4836)),
    Claim("S8", "transformer", OURS, "text", "better", (0.3221, 0.3028)),
)
DECOUPLING = (
    Claim("ours", "full_captions", OURS, "style", "worse"),
    Claim("ours", "full_captions", OURS, "text", "worse"),
    Claim("ours", "whole_references", OURS, "style", "worse"),
    Claim("ours", "whole_references", OURS, "leakage", "worse"),
    Claim("ours", "no_augmentation", OURS, "leakage", "worse"),
    Claim("ours", "cross_references", OURS, "style", "better"),
    Claim("ours", "cross_references", OURS, "leakage", "better"),
)
TABLE_5 = (
    Claim("5", "two_stage", OURS, "style", "better", (0.4531, 0.3923)),
    Claim("5", "two_stage", OURS, "text", "better", (0.2726, 0.2691)),
    Claim("5", "two_stage", OURS, "temporal", "better", (0.9892, 0.9612)),
    Claim("5", "two_stage", OURS, "warping", "better", (18.73, 47.88)),
    Claim("5", "joint", "two_stage", "style", "worse", (0.2226, 0.4531)),
    Claim("5", "joint", "two_stage", "text", "better", (0.3138, 0.2726)),
    Claim("5", "joint", "two_stage", "temporal", "worse", (0.9741, 0.9892)),
    Claim("5", "joint", "two_stage", "warping", "worse", (24.74, 18.73)),
)
SHOWN = ("object_right", "scene_right", "motion_right", "style_found_by_probe", "style_vector", "style_found",
         "palette_distance", "leaked", "leaked_by_chance", "flicker", "warping_error", "dynamics")  # fmt: skip


@dataclass(frozen=True)
class VariantsSpec:
    """How variants are trained and asked.

    Attributes:
        adapter_steps: Of stage 1, and of the joint stage.
        temporal_steps: Of stage 2.
        batch_size: Pictures a step.
        clip_batch_size: Clips a step.
        learning_rate: Of stage 1; stage 2 has two fifths of it.
        references: Of the held-out set.
        prompts: Of the held-out set, for pictures.
        clip_prompts: The same for clips, which cost more.
        unseen_kinds: How many of the references are of kinds that training never showed.
        steps: Of sampling; None: the model's.
        frames: Of clips; None: the model's.
        of_pictures: Strategies that are asked for pictures; claims about others are left out.
        of_clips: Strategies that are asked for clips.
    """

    adapter_steps: int = 3000
    temporal_steps: int = 600
    batch_size: int = 32
    clip_batch_size: int = 3
    learning_rate: float = 1e-3
    references: int = 20
    prompts: int = 12
    clip_prompts: int = 4
    unseen_kinds: int = 6
    steps: int | None = None
    frames: int | None = None
    of_pictures: tuple[str, ...] = PICTURE_STRATEGIES
    of_clips: tuple[str, ...] = CLIP_STRATEGIES


QUICK = VariantsSpec(
    adapter_steps=1, temporal_steps=1, batch_size=4, clip_batch_size=1, references=3, prompts=2, clip_prompts=1,
    unseen_kinds=1, steps=2, frames=3, of_pictures=(OURS, "full_captions"), of_clips=(OURS, "two_stage"),
)  # fmt: skip


#: See `training.stages.DiffusionConfig.scale_penalty`.
SCALE_PENALTY = 3e-4


def run(
    model: str,
    folder: Path,
    spec: VariantsSpec = VariantsSpec(),  # noqa: B008  # frozen
    *,
    seed: int = 0,
    mixed_precision: bool = True,
) -> StudyResult:
    """Train the variants, draw the held-out set with each, and test the claims.

    Args:
        model: The base, with or without an adapter; its temporal layers should not have seen stage 2 yet
            (`stylecrafter train … --until base` leaves such a model).
        folder: Of variants, clips and figures; what a stopped run left in it is used again.
        spec: How variants are trained and asked.
        seed: Decides training, styles, prompts and noise.
        mixed_precision: Train in bfloat16 where tensors may be.

    Raises:
        InvalidInputError: There is no such model, or nothing tells which words of StyleWorld it knows.
        MissingDependencyError: An optional package is not installed.
        OutputError: The folder cannot be written.
    """
    trainer = _Variants(model, folder, spec, seed, "bf16" if mixed_precision else "no")
    pictures = trainer.ask("pictures", spec.of_pictures, spec.prompts, frames=1)
    clips = trainer.ask("clips", spec.of_clips, spec.clip_prompts, frames=spec.frames)
    tables = (
        _figures(pictures, "Pictures"),
        check_claims(TABLE_4, pictures, "Orderings of tables 4 and S8"),
        check_claims(DECOUPLING, pictures, "Decoupling, one half at a time"),
        _figures(clips, "Clips"),
        check_claims(TABLE_5, clips, "Orderings of table 5"),
    )
    plots = {
        f"pictures_{name}": _bars(pictures, name)
        for name in ("object_right", "style_found_by_probe", "style_vector", "leaked")
    } | {f"clips_{name}": _bars(clips, name) for name in ("style_found_by_probe", "flicker", "warping_error")}
    return StudyResult(
        "Training strategies, ablations and decoupling",
        tables,
        plots=plots,
        data={
            kind: {name: {clip.name: clip.figures for clip in run.clips} for name, run in runs.items()}
            for kind, runs in (("pictures", pictures), ("clips", clips))
        },
        settings={"study": "variants", "model": model, "seed": seed, **asdict(spec)},
    )


class _Variants:
    """Trains variants in a folder, makes their clips and measures them; nothing is done twice."""

    def __init__(self, model: str, folder: Path, spec: VariantsSpec, seed: int, precision: str) -> None:
        self.model, self.folder, self.spec = look_up_model(model), folder, spec
        self.seed, self.precision = seed, precision
        self.world = world_set_for(
            model, references=spec.references, unseen_kinds=spec.unseen_kinds, seed=seed
        )

    def ask(
        self, kind: str, strategies: Sequence[str], prompts: int, frames: int | None
    ) -> dict[str, Evaluation]:
        """Figures of every strategy's model on a set of so many prompts."""
        drawn: WorldSetSpec = self.world.model_copy(update={"prompts": prompts})
        testset = read_testset(write_world_set(drawn, self.folder / f"testset_{kind}"))
        suffix = ".png" if frames == 1 else ".mp4"
        plain = GenerationSettings(prompt="-", seed=self.seed, frames=frames, steps=self.spec.steps)
        asking, _ = measurers_for(EvaluationRequest(str(testset.file), plain), testset, self.folder)
        runs = {}
        for name in strategies:
            settings = plain.model_copy(update={"model": str(self.trained(name))})
            made = self.folder / kind / name
            make_clips(Method.OURS, Request(testset, settings, suffix), made, self._no_source)
            runs[name] = measure_folder(testset, made, asking, self.folder, title=name)
            logger.info("%s: measured %d %s", name, len(runs[name].clips), kind)
        return runs

    def _no_source(self, method: Method) -> Path:
        raise InvalidInputError(f"{method.value!r} is no clip of a variant's own")

    def trained(self, strategy: str) -> Path:
        """The model of a strategy, trained where it is not there yet."""
        run = RecipeRun(self._recipe(strategy), self.folder / "variants" / strategy)
        if not run.exported_to().is_dir() and not run.run(resume=True):
            raise KeyboardInterrupt  # a signal came; the run can be gone on with
        return run.exported_to()

    def _recipe(self, strategy: str) -> Recipe:
        spec, world = self.spec, {"kind": "styleworld", "vocabulary": self.world.vocabulary}
        train = {"warmup_steps": 50, "mixed_precision": self.precision}
        stage_1 = {
            **train,
            "steps": spec.adapter_steps,
            "learning_rate": spec.learning_rate,
            "ema_decay": 0.998,
        }
        stage_2 = {
            **train,
            "steps": spec.temporal_steps,
            "learning_rate": 0.4 * spec.learning_rate,
            "ema_decay": 0.99,
        }
        adapter = {"stage": "adapter", "pictures": "styled", "train": stage_1,
                   "options": {"picture_reuse": 4, "scale_penalty": SCALE_PENALTY}}  # fmt: skip
        temporal: dict[str, Any] = {"stage": "temporal", "pictures": "styled", "clips": "plain", "train": stage_2,
                    "options": {"picture_reuse": 4, "clip_ratio": 0.8}}  # fmt: skip
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
        return Recipe.model_validate(content).with_strategy(find_strategy(strategy))


def _figures(runs: dict[str, Evaluation], title: str) -> Table:
    """A row per run; figures that no run has are left out."""
    rows = {name: {row.info.name: row for row in summarise(run)} for name, run in runs.items()}
    known = [f for f in SHOWN if any(f in of and of[f].interval is not None for of in rows.values())]
    infos = {row.info.name: row.info for of in rows.values() for row in of.values()}
    cells = [(name, *(shown(of[figure].interval) for figure in known)) for name, of in rows.items()]
    return Table(title, ("strategy", *(titled(infos[figure]) for figure in known)), tuple(cells))


def _bars(runs: dict[str, Evaluation], figure: str) -> str:
    values = {}
    title = figure
    for name, evaluation in runs.items():
        for row in summarise(evaluation):
            if row.info.name == figure and row.interval is not None:
                values[name], title = row.interval, titled(row.info)
    return bars(title, title, values)
