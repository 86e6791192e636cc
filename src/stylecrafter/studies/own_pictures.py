"""What finetuning on a dozen pictures of one's own does: to their style, to the text, and to all other styles.

A collection is a few pictures of StyleWorld in one held-out style, with captions. The recipe `finetune` trains on it as
on anybody's folder; then the model is asked for other things in that style, given one picture of the collection, and
for other styles. The same model untrained says what was gained and lost, given the one picture or all of them. Real
renders say what there is to gain.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.evaluation.report import shown
from stylecrafter.evaluation.statistics import bootstrap_mean
from stylecrafter.evaluation.truth.held_out import HeldOutSet
from stylecrafter.evaluation.truth.probes import Question, labels_of, seen_in
from stylecrafter.evaluation.truth.style_probe import seen_style
from stylecrafter.evaluation.truth.trained_probes import WorldProbes, world_probes
from stylecrafter.evaluation.truth.world_set import WorldSetSpec, world_set_for
from stylecrafter.generation.models import look_up_model
from stylecrafter.media.files import write_atomic
from stylecrafter.media.tensors import to_pictures
from stylecrafter.studies.plots import bars
from stylecrafter.studies.result import StudyResult, StudySpec, Table, listed, shown_change
from stylecrafter.studies.subject import Subject
from stylecrafter.studies.trained import trained_model
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.sheets import contact_sheet
from stylecrafter.styleworld.styles import STYLE_NAMES
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.recipes import Recipe

logger = logging.getLogger(__name__)

BEFORE, ALL_GIVEN, RENDERS = "before", "all pictures given", "real renders"
#: Name -> what is changed in the recipe.
WAYS: dict[str, tuple[str, ...]] = {
    "recipe": (),
    "not blended": ("stages.0.train.weight_interpolation=1",),
    "whole adapter": ("stages.0.stage=adapter", "stages.0.train.learning_rate=1e-4"),
}
PICTURE_QUESTIONS: tuple[Question, ...] = ("object", "scene")
#: What is said of pictures, and its title in tables.
TITLES = {
    "style": "own style found",
    "nearness": "nearness to it",
    "object": "object",
    "scene": "scene",
    "leaked": "object of the reference",
    "others_style": "other styles found",
    "others_object": "object in them",
}
SCORES = tuple(TITLES)


@dataclass(frozen=True, kw_only=True)
class OwnPicturesSpec(StudySpec):
    """What the study looks at.

    Attributes:
        kinds: Of style, one collection each.
        pictures: In a collection.
        prompts: Asked of each model in the collection's style.
        references: Other styles: those that a picture is to be told from, and that are asked for by themselves.
        ways: Names in `WAYS`.
        train_steps: Of the recipe; None: its own.
    """

    kinds: tuple[str, ...] = splits.HELD_OUT_STYLES
    pictures: int = 12
    prompts: int = 24
    references: int = 20
    ways: tuple[str, ...] = tuple(WAYS)
    train_steps: int | None = None


#: Pictures of every model and kind on the sheet.
SHOWN = 2

QUICK = OwnPicturesSpec(
    kinds=("mosaic", "bricks"), pictures=3, prompts=2, references=3, train_steps=1, steps=2
)

Scores = dict[str, torch.Tensor]


def run(
    model: str,
    folder: Path,
    spec: OwnPicturesSpec = OwnPicturesSpec(),  # noqa: B008  # frozen
    *,
    seed: int = 0,
) -> StudyResult:
    """Finetune the model on every collection in every way, and ask before and after; see `run_study.run_study`."""
    for what, names, known in (("kind of style", spec.kinds, STYLE_NAMES), ("way", spec.ways, WAYS)):
        for name in names:
            if name not in known:
                raise unknown_name(what, name, known)
    if spec.pictures < 2 or not spec.kinds or not spec.ways:
        raise InvalidInputError(
            f"{len(spec.kinds)} collections of {spec.pictures} pictures, trained on in {len(spec.ways)} ways; "
            "at least 1 of 2 and one way are needed"
        )
    drawn = world_set_for(
        model, references=spec.references, prompts=spec.prompts, unseen_kinds=spec.references // 3, seed=seed
    )
    asked, shown_pictures, captions = _ask_all(model, folder, spec, drawn, seed)
    clusters = {f: [kind for kind, of in asked[BEFORE].items() for _ in of[f]] for f in SCORES}
    joined = {
        name: {f: [value for scores in of.values() for value in scores[f].tolist()] for f in SCORES}
        for name, of in asked.items()
    }
    means = {
        name: {f: bootstrap_mean(values[f], clusters[f]) for f in SCORES} for name, values in joined.items()
    }
    return StudyResult(
        "Finetuning on pictures of one's own",
        (
            Table(
                "Before and after",
                ("", *TITLES.values()),
                tuple((name, *(shown(of[f]) for f in SCORES)) for name, of in means.items()),
                "By probes trained on real renders: the picture of the collection, that was given (but for the row of "
                "all of them), nearest of it and all other styles, and how near (cosine); object and scene as the "
                "prompt says; the object of the given picture instead. Then the other styles, one picture of each. "
                "Intervals over kinds of style.",
            ),
            _differences(joined, clusters),
            _by_kind(asked),
        ),
        plots={
            "style": bars("Own style found", "share", {name: of["style"] for name, of in means.items()}),
            "object": bars(
                "Object of the prompt", "share", {name: of["object"] for name, of in means.items()}
            ),
        },
        sheets={
            "pictures": contact_sheet(
                to_pictures(torch.cat(shown_pictures)),
                [caption for caption in captions for _ in range(SHOWN)],
                SHOWN * len(asked),
                64,
            )
        },
        data={
            name: {kind: {f: listed(v) for f, v in scores.items()} for kind, scores in of.items()}
            for name, of in asked.items()
        },
        settings={"study": "own_pictures", "model": model, "seed": seed, **asdict(spec)},
    )


def _ask_all(
    model: str, folder: Path, spec: OwnPicturesSpec, drawn: WorldSetSpec, seed: int
) -> tuple[dict[str, dict[str, Scores]], list[torch.Tensor], list[str]]:
    """Scores by model and kind of style, some pictures (`SHOWN`, 3, h, w) of each, and what they are called."""
    probes = world_probes(drawn.vocabulary, drawn.size)
    asked: dict[str, dict[str, Scores]] = {name: {} for name in (BEFORE, ALL_GIVEN, *spec.ways, RENDERS)}
    shown_pictures, captions = [], []
    for kind in spec.kinds:
        collection = _collection(kind, drawn, spec.pictures, seed)
        name_of_kind = kind.replace(" ", "_")
        place = _written(collection, folder / "collections" / name_of_kind, drawn.size)
        models = {BEFORE: model, ALL_GIVEN: model}
        for way in spec.ways:
            trained = folder / "models" / f"{name_of_kind}_{way.replace(' ', '_')}"
            models[way] = str(trained_model(_recipe(model, place, way, spec, seed), trained))
        for name, trained_or_not in models.items():
            subject = Subject(trained_or_not, drawn, steps=spec.steps, dtype=spec.dtype)
            subject = subject.with_set(_set_for(collection, subject.set))
            if name == ALL_GIVEN:
                subject.style_tokens[:1] = _read_together(subject, collection)
            rows = _rows(subject.set)
            pictures = subject.paint(rows)
            asked[name][kind] = _scores(subject, rows, pictures, probes)
            shown_pictures.append(pictures[:SHOWN])
            captions.append(f"{kind}, {name}")
            said = {score: round(float(of.mean()), 3) for score, of in asked[name][kind].items()}
            logger.info("%s, %s: %s", kind, name, said)
        real = subject.set.real_clips(rows, drawn.size, 1)[:, 0]
        asked[RENDERS][kind] = _scores(subject, rows, real, probes)
        shown_pictures.append(torch.cat([subject.references[:1], real[: SHOWN - 1]]))
        captions.append(f"{kind}: the picture given, renders")
    return asked, shown_pictures, captions


def _collection(kind: str, drawn: WorldSetSpec, count: int, seed: int) -> world.WorldBatch:
    """So many things in one style of that kind, its palette and parameters held out."""
    words = splits.find_vocabulary(drawn.vocabulary)
    generator = torch.Generator().manual_seed(seed * 1009 + STYLE_NAMES.index(kind))
    style = world.sample(1, generator, vocabulary=words, split="held_out")
    style = style.replace(style=torch.full_like(style.style, STYLE_NAMES.index(kind)))
    things = world.sample(count, generator, vocabulary=words, split="train")
    return things.in_style_of(style[torch.zeros(count, dtype=torch.long)])


def _written(collection: world.WorldBatch, folder: Path, size: int) -> Path:
    """The collection as a user has it: pictures with captions beside them."""
    texts = collection.content_captions(random.Random(0), moving=False)
    pictures = to_pictures(world.render(collection, size)[:, 0])
    for number, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        png = io.BytesIO()
        picture.save(png, "PNG")
        write_atomic(folder / f"{number:02d}.png", png.getvalue())
        write_atomic(folder / f"{number:02d}.txt", text.encode())
    return folder.resolve()


def _recipe(model: str, collection: Path, way: str, spec: OwnPicturesSpec, seed: int) -> Recipe:
    changes = [
        f"model.pretrained={look_up_model(model).folder}",
        f"data.mine.path={collection}",
        f"seed={seed}",
        "stages.0.train.sample_every=0",
        *WAYS[way],
    ]
    if spec.train_steps is not None:
        changes.append(f"stages.0.train.steps={spec.train_steps}")
    return load_recipe("finetune", changes)


def _set_for(collection: world.WorldBatch, held_out: HeldOutSet) -> HeldOutSet:
    """The set with the collection's first picture before the other references; no prompt names its object."""
    given = collection[:1]
    kept = held_out.prompts.thing != given.thing
    return dataclasses.replace(
        held_out,
        references=world.concatenate([given, held_out.references]),
        prompts=held_out.prompts[kept],
        texts=tuple(text for text, keep in zip(held_out.texts, kept.tolist(), strict=True) if keep),
    )


def _read_together(subject: Subject, collection: world.WorldBatch) -> torch.Tensor:
    """Style tokens (1, q, d) of all pictures of the collection."""
    return subject.pipe.encode_style(
        [to_pictures(world.render(collection, subject.spec.size)[:, 0])], corners=False
    )


def _rows(held_out: HeldOutSet) -> torch.Tensor:
    """All prompts in the collection's style, then one of them in each other style."""
    prompts, others = len(held_out.prompts), torch.arange(1, len(held_out.references))
    return torch.cat([torch.arange(prompts), others * prompts + others % prompts])


@torch.no_grad()
def _scores(
    subject: Subject, rows: torch.Tensor, pictures: torch.Tensor, probes: WorldProbes
) -> dict[str, torch.Tensor]:
    """`SCORES` of pictures (n, 3, h, w) in [0, 1] of the pairs `rows`, each for those that it is asked of."""
    held_out, words = subject.set, subject.set.vocabulary
    own = held_out.reference_of[rows]
    contents = held_out.prompts[held_out.prompt_of[rows]]
    wanted = seen_style(probes.style, subject.references[:, None]).embedding
    nearness = seen_style(probes.style, pictures[:, None]).embedding @ wanted.T
    found = nearness.argmax(1) == own
    seen = {q: seen_in(probes.content[q], pictures[:, None]) for q in PICTURE_QUESTIONS}
    right = {q: seen[q] == labels_of(q, contents, words) for q in PICTURE_QUESTIONS}
    leaked = seen["object"] == labels_of("object", held_out.references[:1], words)
    mine = own == 0
    scores = {
        "style": found[mine],
        "nearness": nearness[mine, 0],
        "object": right["object"][mine],
        "scene": right["scene"][mine],
        "leaked": leaked[mine],
        "others_style": found[~mine],
        "others_object": right["object"][~mine],
    }
    return {name: of.float() for name, of in scores.items()}


def _by_kind(asked: dict[str, dict[str, Scores]]) -> Table:
    rows = [
        (kind, *(f"{of[kind]['style'].mean():.2f}, {of[kind]['object'].mean():.2f}" for of in asked.values()))
        for kind in asked[BEFORE]
    ]
    return Table("By kind: own style found, object", ("kind", *asked), tuple(rows))


def _differences(joined: dict[str, dict[str, list[float]]], clusters: dict[str, list[str]]) -> Table:
    """What finetuning, or all pictures, change, and what each way changes against the first."""
    ways = [name for name in joined if name not in (BEFORE, ALL_GIVEN, RENDERS)]
    pairs = [(BEFORE, name) for name in (ALL_GIVEN, *ways)] + [(ways[0], way) for way in ways[1:]]
    rows = []
    for one, other in pairs:
        differences = (shown_change(joined[one][f], joined[other][f], clusters[f]) for f in SCORES)
        rows.append((f"{other} over {one}", *differences))
    return Table("What it changes", ("", *TITLES.values()), tuple(rows), "Paired, by kinds of style.")
