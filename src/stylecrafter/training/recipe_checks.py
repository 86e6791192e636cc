"""What must fit together across the parts of a recipe: stages and their sources, mixes and their members, sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylecrafter.errors import unknown_name
from stylecrafter.presets import load_preset
from stylecrafter.runtime.faults import Fault, Place
from stylecrafter.training.model_spec import ModelSpec
from stylecrafter.training.source_specs import FilesSpec, MixSpec, WorldSpec
from stylecrafter.training.stage_specs import (
    ClipSpec,
    PictureStageSpec,
    StageSpec,
    TextSeparationSpec,
)
from stylecrafter.weights.configs import read_config

Source = WorldSpec | FilesSpec | MixSpec
#: Name -> source; None for one that is wrong in itself.
Sources = Mapping[str, Source | None]

#: Stages that learn from the style references of their pictures.
STYLE_STAGES = ("adapter", "extractor", "temporal", "joint")
#: Stages that may come in several rounds, such as at growing sizes.
REPEATED = ("base", "adapter")


@dataclass(frozen=True)
class Outline:
    """The parts of a recipe that are right in themselves, each with its place in the recipe.

    Of a stage that is not, the name and the sources may be there.
    """

    model: ModelSpec | None
    adapter: Mapping[str, Any]
    data: Sources
    stages: list[tuple[int, StageSpec]]
    complete: bool = True
    """Whether all stages are there."""


@dataclass(frozen=True)
class ModelSizes:
    """What a model takes.

    Attributes:
        default: Height and width where a source names none.
        vae_multiple, multiple: What sides are multiples of, for the autoencoder and for the denoiser behind it.
        vision: Side of what CLIP looks at.
        text_width: Of the text encoder's states.
    """

    default: tuple[int, int]
    vae_multiple: int
    multiple: int
    vision: int
    text_width: int

    @classmethod
    def of_preset(cls, name: str) -> ModelSizes:
        """Of a model that is built from nothing."""
        sizes = load_preset(name)
        side: Any = sizes["image_size"]
        vae = 2 ** (len(sizes["vae"]["block_out_channels"]) - 1)
        unet = 2 ** (len(sizes["unet"]["block_out_channels"]) - 1)
        return cls((side, side), vae, vae * unet, sizes["vision"]["image_size"], sizes["text"]["hidden_size"])


def halvings(part: Path) -> int:
    """By how much a part with such a config reduces the sides of a picture."""
    channels = read_config(part / "config.json").get("block_out_channels")
    return int(2 ** (len(channels) - 1)) if isinstance(channels, list) and channels else 1


def members_of(data: Sources, source: str) -> set[str]:
    """The sources that `source` takes its rows from: itself, or those of a mix, mixes of mixes included.

    What is not there, and a mix that contains itself, adds nothing.
    """
    found: set[str] = set()
    seen: set[str] = set()
    todo = [source]
    while todo:
        name = todo.pop()
        if name in seen or name not in data:
            continue
        seen.add(name)
        spec = data[name]
        if isinstance(spec, MixSpec):
            todo += spec.of
        else:
            found.add(name)
    return found


def faults_between(outline: Outline) -> Iterator[Fault]:
    """Everything that does not fit together."""
    if outline.complete:
        yield from _names(outline)
        yield from _extractor(outline)
    yield from _unknown_sources(outline)
    for name in outline.data:
        yield from _circle(outline.data, name, (name,))
        yield from _mix(outline.data, name)
    for number, stage in outline.stages:
        place = ("stages", number)
        yield from _build(outline, stage, place)
        yield from _parts(outline.data, stage, place)
        yield from _kinds(outline.data, stage, place)
        yield from _styles(outline, stage, place)
    if outline.model is not None and outline.model.preset is not None:
        yield from size_faults(outline, ModelSizes.of_preset(outline.model.preset))


def size_faults(outline: Outline, sizes: ModelSizes) -> Iterator[Fault]:
    """Sources at sizes that the models of their stages do not take."""
    for number, stage in outline.stages:
        if isinstance(stage, TextSeparationSpec):  # reads captions alone
            groups = len(stage.options.groups)
            if groups > sizes.text_width:
                yield Fault(
                    ("stages", number, "options", "groups"),
                    f"{groups} groups of words need states at least as wide, not {sizes.text_width}",
                )
            continue
        multiple = sizes.vae_multiple if stage.stage in ("autoencoder", "decoder") else sizes.multiple
        for name in sources_of(outline.data, [stage]):
            spec = outline.data[name]
            if not isinstance(spec, (WorldSpec, FilesSpec)):
                continue
            height, width = frame_size(spec, sizes.default)
            what = f"{width} x {height} pixels for stage {stage.name!r}"
            if isinstance(spec, WorldSpec) and spec.size is None and height != width:
                yield Fault(
                    ("data", name, "size"), f"StyleWorld is square, the model makes {width} x {height}"
                )
            elif stage.stage == "clip" and {height, width} != {sizes.vision}:
                yield Fault(("data", name), f"{what}: its image tower takes {sizes.vision} x {sizes.vision}")
            elif stage.stage != "clip" and (height % multiple or width % multiple):
                yield Fault(("data", name), f"{what}: both sides must be multiples of {multiple}")


def frame_size(spec: WorldSpec | FilesSpec, default: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what a source gives."""
    if isinstance(spec, WorldSpec):
        return (spec.size, spec.size) if spec.size else default
    return spec.height or spec.size or default[0], spec.width or spec.size or default[1]


def sources_of(data: Sources, stages: Iterable[StageSpec]) -> list[str]:
    """What stages are shown, by name, without the mixes in between."""
    return sorted({member for stage in stages for name in stage.sources for member in members_of(data, name)})


def _names(outline: Outline) -> Iterator[Fault]:
    names = [stage.name for _, stage in outline.stages]
    if len(set(names)) < len(names):
        yield Fault(
            ("stages",),
            f"every stage needs its own name, got {', '.join(names)}; give a 'name' to those that come again",
        )
    again = [s.name for _, s in outline.stages if s.stage not in REPEATED and s.name != s.stage]
    if again:
        yield Fault(
            ("stages",),
            f"only the stages {' and '.join(map(repr, REPEATED))} may come several times under other names, got "
            f"{', '.join(again)}",
        )


def _unknown_sources(outline: Outline) -> Iterator[Fault]:
    wanted: list[tuple[Place, str]] = [
        (("stages", number, key), name)
        for number, stage in outline.stages
        for key, name in (("pictures", stage.pictures), ("clips", stage.clips))
        if name is not None
    ]
    mixes = {name: spec for name, spec in outline.data.items() if isinstance(spec, MixSpec)}
    wanted += [(("data", name, "of"), member) for name, spec in mixes.items() for member in spec.of]
    for place, name in wanted:
        if name not in outline.data:
            yield Fault(place, str(unknown_name("source", name, outline.data, "Name it under 'data'.")))


def _circle(data: Sources, name: str, way: tuple[str, ...]) -> Iterator[Fault]:
    spec = data.get(name)
    if not isinstance(spec, MixSpec):
        return
    for member in spec.of:
        if member == way[0]:
            # Told once, of the first of its mixes.
            if way[0] == min(way):
                yield Fault(("data", way[0]), f"the mix contains itself: {' > '.join((*way, member))}")
        elif member not in way:
            yield from _circle(data, member, (*way, member))


def _mix(data: Sources, name: str) -> Iterator[Fault]:
    """Rows that cannot stand in one batch, and batches that cannot follow one another."""
    spec = data[name]
    if not isinstance(spec, MixSpec):
        return
    members = {member: data[member] for member in spec.of if data.get(member) is not None}
    if spec.unit == "steps":
        other = {
            m: s.batch_size for m, s in members.items() if s is not None and s.batch_size != spec.batch_size
        }
        if other:
            told = ", ".join(f"{member} {size}" for member, size in other.items())
            yield Fault(
                ("data", name, "batch_size"),
                f"whole batches alternate, so all must be as large: the mix has {spec.batch_size}, {told}",
            )
        return
    plain = [data[member] for member in sorted(members_of(data, name))]
    shapes = {
        (s.num_frames, frame_size(s, (0, 0)), s.references != "none")
        for s in plain
        if isinstance(s, (WorldSpec, FilesSpec))
    }
    for at, what in ((0, "numbers of frames"), (1, "sizes"), (2, "style references and none")):
        if len({shape[at] for shape in shapes}) > 1:
            yield Fault(
                ("data", name),
                f"rows of different {what} do not fit into one batch; give its sources the same, or mix by "
                "unit: steps",
            )


def _build(outline: Outline, stage: StageSpec, place: Place) -> Iterator[Fault]:
    model = outline.model
    if stage.is_encoder and model is not None and model.preset is None:
        yield Fault(
            place,
            f"stage {stage.stage!r} trains a model from nothing: give the recipe 'model: {{preset: …}}'",
        )


def _parts(data: Sources, stage: StageSpec, place: Place) -> Iterator[Fault]:
    """Batches that cannot be cut into the parts of an accumulated step."""
    parts = stage.train.accumulation
    for name in stage.sources:
        spec = data.get(name)
        if spec is not None and spec.batch_size % parts:
            yield Fault(
                (*place, "train", "accumulation"),
                f"a batch of {spec.batch_size} rows ({name}) cannot be cut into {parts} equal parts",
            )


def _kinds(data: Sources, stage: StageSpec, place: Place) -> Iterator[Fault]:
    """Clips where pictures are shown, and pictures where clips are. The parts of a model of our own take both."""
    for key, name in (("pictures", stage.pictures), ("clips", stage.clips)):
        if name is None or (key == "pictures" and isinstance(stage, PictureStageSpec)):
            continue
        specs = [data[member] for member in members_of(data, name)]
        frames = {spec.num_frames for spec in specs if isinstance(spec, (WorldSpec, FilesSpec))}
        if not frames or None in specs:
            continue
        if key == "pictures" and 1 not in frames:
            yield Fault(
                (*place, key), f"{name!r} has clips of {min(frames)} frames; pictures have num_frames: 1"
            )
        if key == "clips" and frames == {1}:
            yield Fault((*place, key), f"{name!r} has pictures; clips have num_frames: 2 or more")


def _styles(outline: Outline, stage: StageSpec, place: Place) -> Iterator[Fault]:
    """Stages that learn nothing without style references, and sources that have none."""
    named = []
    if stage.stage in STYLE_STAGES and stage.pictures is not None:
        named.append(("pictures", stage.pictures))
    if stage.stage in ("adapter", "extractor") and stage.clips is not None:
        named.append(("clips", stage.clips))
    if isinstance(stage, ClipSpec) and stage.options.style_weight and stage.pictures is not None:
        named.append(("pictures", stage.pictures))
    for key, source in named:
        for name in sorted(members_of(outline.data, source)):
            if getattr(outline.data[name], "references", None) == "none":
                yield Fault(
                    (*place, key),
                    f"stage {stage.stage!r} shows {key} of {name!r} with their style, which has no style references: "
                    f"set data.{name}.references to crop",
                )


def _extractor(outline: Outline) -> Iterator[Fault]:
    """The extractor alone says what a finished adapter is told; a fresh one does nothing with it yet."""
    names = [stage.stage for _, stage in outline.stages]
    if "extractor" not in names or outline.model is None:
        return
    before = set(names[: names.index("extractor")])
    if outline.model.is_adapter_fresh(outline.adapter) and not before & {"adapter", "joint"}:
        yield Fault(
            ("stages",),
            "stage 'extractor' goes on with an adapter that has learned, and this recipe makes a fresh one: "
            "train it in stage 'adapter'",
        )
