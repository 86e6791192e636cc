"""The method against its baselines on one base model and the same seeds: tables 1, 2, S4, S6 and S7.

The paper's baselines in what stands for them here: DreamBooth is low-rank finetuning on the reference, SD 2.1* and
VideoCrafter* are style words in the prompt, T2I + CAST and T2V + MCCNet are per-frame style transfer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stylecrafter.evaluation.method_names import Method
from stylecrafter.evaluation.truth.world_set import world_set_for
from stylecrafter.studies.asking import Asked
from stylecrafter.studies.claims import check_claims, read_claims
from stylecrafter.studies.result import StudyResult, StudySpec

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS, SEVERAL = Method.OURS.value, "ours, several pictures"
TABLE_1, TABLE_S4, TABLE_2, TABLE_2_SEVERAL = (
    read_claims(name) for name in ("table_1", "table_s4", "table_2", "table_2_several")
)
SINGLE = (Method.OURS, Method.TEXT_ONLY, Method.STYLE_WORDS, Method.LORA, Method.FRAME_TRANSFER, Method.REAL)
#: Of clips finetuning is left out, as table 2 has no such row for single references.
MOVING = tuple(method for method in SINGLE if method is not Method.LORA)


@dataclass(frozen=True, kw_only=True)
class BaselinesSpec(StudySpec):
    """What the study looks at.

    Attributes:
        references: Of the held-out set.
        prompts: Of the held-out set, for pictures.
        clip_prompts: The same for clips, which cost more.
        unseen_kinds: How many of the references are of kinds that training never showed.
        pictures: How many pictures give a style where several do.
        frames: Of clips; None: the model's.
        of_pictures: Methods that are asked for pictures; claims about others are left out.
        of_clips: Methods that are asked for clips.
    """

    references: int = 20
    prompts: int = 10
    clip_prompts: int = 4
    unseen_kinds: int = 6
    pictures: int = 5
    frames: int | None = None
    of_pictures: tuple[Method, ...] = SINGLE
    of_clips: tuple[Method, ...] = MOVING


QUICK = BaselinesSpec(
    references=3, prompts=2, clip_prompts=1, unseen_kinds=1, pictures=2, steps=2, frames=3,
    of_pictures=(Method.OURS, Method.STYLE_WORDS), of_clips=(Method.OURS, Method.TEXT_ONLY),
)  # fmt: skip


def run(
    model: str,
    folder: Path,
    spec: BaselinesSpec = BaselinesSpec(),  # noqa: B008  # frozen
    *,
    seed: int = 0,
) -> StudyResult:
    """Make and measure the clips of every method, and test the claims; see `run_study.run_study`."""

    def asked(
        kind: str, methods: Sequence[Method], prompts: int, frames: int | None, pictures: int = 1
    ) -> Asked:
        numbers = {"references": spec.references, "prompts": prompts, "unseen_kinds": spec.unseen_kinds}
        drawn = world_set_for(model, vocabulary=None, **numbers, pictures=pictures, seed=seed)
        one = Asked(kind, drawn, spec, frames, folder)
        for method in methods:
            one.ask(method.value, model, method)
        return one

    of_pictures = asked("pictures", spec.of_pictures, spec.prompts, 1)
    of_clips = asked("clips", spec.of_clips, spec.clip_prompts, spec.frames)
    several_pictures = asked("pictures_of_several", (Method.OURS,), spec.prompts, 1, spec.pictures)
    several_clips = asked("clips_of_several", (Method.OURS,), spec.clip_prompts, spec.frames, spec.pictures)
    for one, several in ((of_pictures, several_pictures), (of_clips, several_clips)):
        one.add(SEVERAL, several)
    return StudyResult(
        "Baselines on the same base model",
        (
            of_pictures.scores("Pictures"),
            check_claims(TABLE_1, of_pictures.runs, "Orderings of tables 1 and S6"),
            check_claims(TABLE_S4, of_pictures.runs, "Orderings of table S4, several pictures"),
            of_clips.scores("Clips"),
            check_claims(TABLE_2, of_clips.runs, "Orderings of tables 2 and S7"),
            check_claims(TABLE_2_SEVERAL, of_clips.runs, "Orderings of table 2, several pictures"),
        ),
        plots={
            **{
                f"pictures_{f}": of_pictures.bars(f)
                for f in ("object_right", "style_found_by_probe", "style_vector")
            },
            **{f"clips_{f}": of_clips.bars(f) for f in ("style_found_by_probe", "flicker", "warping_error")},
        },
        data={"pictures": of_pictures.data(), "clips": of_clips.data()},
        settings={"study": "baselines", "model": model, "seed": seed, **asdict(spec)},
    )
