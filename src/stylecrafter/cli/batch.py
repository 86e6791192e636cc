"""`stylecrafter batch`: one clip per entry of a json file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import EXIT_BAD_INPUT, EXIT_INTERRUPTED, say, say_json, show, show_json


@options.takes_sampling()
def batch(
    file: Annotated[
        Path,
        typer.Argument(
            help='Json: [{"prompt": …, "style_path": PIC or [PIC, …]}, …]; entries may set seed, steps, … too.',
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    sampling: options.Sampling,
    lock_style: Annotated[
        bool,
        typer.Option(
            "--lock-style", help="One look for all: --style, or that of the first entry, and the same seed."
        ),
    ] = False,
    style: Annotated[
        list[Path] | None,
        typer.Option("--style", help="With --lock-style: style picture, or name of a saved style."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a batch in the folder stopped.")
    ] = False,
    format: options.Format = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Only the first N entries.")] = None,
    workers: options.Workers = None,
    worker_threads: options.WorkerThreads = None,
    ray: options.Ray = None,
    no_metadata: options.NoMetadata = False,
    lossless: options.Lossless = False,
    json_progress: options.JsonProgress = False,
    json: options.AsJson = False,
) -> None:
    """Make one clip for every entry of FILE; style paths are relative to FILE, entry i has seed + i."""
    from stylecrafter.generation.batch import Progress, run_batch
    from stylecrafter.generation.spread import Spread

    def tell(progress: Progress) -> None:
        entry = progress.entry
        notes = {"done": f"{progress.seconds:.1f} s", "skipped": "finished before", "failed": "failed"}
        if not json:
            show(f"[{entry.index + 1}/{progress.total}] {entry.name}  {notes[progress.status]}")
        if json_progress:
            say_json(entry=entry.index, entries=progress.total, name=entry.name, status=progress.status)

    if style and not lock_style:
        raise typer.BadParameter(
            "--style goes with --lock-style; without it, entries have their own style_path."
        )
    settings = options.make_settings(prompt="", styles=style or [], **sampling)
    try:
        report = run_batch(
            file,
            output,
            settings,
            suffix=options.suffix_of(format),
            resume=resume,
            limit=limit,
            embed=not no_metadata,
            lock_style=lock_style,
            lossless=lossless,
            spread=Spread.asked(workers, worker_threads, ray),
            on_step=(lambda step, steps: say_json(step=step, steps=steps)) if json_progress else None,
            on_progress=tell,
        )
    except KeyboardInterrupt:
        say("stopped; what is finished stays, and the same command with --resume goes on")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if json:
        show_json(
            {
                "folder": str(report.folder),
                "done": report.done,
                "skipped": report.skipped,
                "failed": report.failed,
            }
        )
    else:
        show(f"{len(report.done)} made, {len(report.skipped)} finished before, {len(report.failed)} failed")
    for name, error in report.failed.items():
        say(f"error: {name}: {error}")
    if report.failed:
        raise typer.Exit(EXIT_BAD_INPUT)
