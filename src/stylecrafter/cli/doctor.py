"""`stylecrafter doctor`: what is installed, what works, what to do where it does not; what a model would need."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import EXIT_FAILED, show, show_json


def doctor(
    model: Annotated[
        str | None,
        typer.Option("--model", help="Tell what memory this one needs, before it is loaded."),
    ] = None,
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    motion_adapter: options.MotionAdapter = None,
    config: options.BaseConfig = None,
    size: options.Size = None,
    frames: Annotated[int | None, typer.Option("--frames", help="Frames of the clip.")] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    low_memory: options.LowMemory = False,
    offload: options.Offload = "auto",
    weights_as: options.Weights = "full",
    json: options.AsJson = False,
) -> None:
    """Check the installation and this machine; with --model, what memory a clip of it needs."""
    if model is None:
        if any(value is not None for value in (adapter, image_encoder, motion_adapter, config, size, frames)):
            raise typer.BadParameter("--size, --frames, --adapter and the like go with --model.")
        _check_machine(json)
        return
    from stylecrafter.generation.memory import needs
    from stylecrafter.pipelines.memory_options import MemoryOptions

    parts = {
        "adapter": adapter,
        "image_encoder": image_encoder,
        "motion_adapter": motion_adapter,
        "base_config": config,
    }
    saving = MemoryOptions(low_memory, offload, weights_as)
    facts = needs(model, parts, size=size, frames=frames, device=device, dtype=dtype, options=saving)
    if json:
        show_json(facts)
        return
    _show_needs(facts)


def _show_needs(facts: dict[str, Any]) -> None:
    from stylecrafter.pipelines.fast import knobs_in_words
    from stylecrafter.runtime.memory import format_bytes

    show(f"{facts['model']}: {facts['kind']}, {facts['frames']} x {facts['size']}, {facts['dtype']}")
    for name in ("weights", "working", "process", "total", "free", "host"):
        if name in facts:
            show(f"  {name:<8} {format_bytes(facts[name])}")
    if facts["fast"]:
        show(f"  {'--fast':<8} {knobs_in_words(facts['fast'])}")
    show("fits" if facts["total"] <= facts["free"] else "does not fit; what takes less:")
    for flags, size in facts.get("less", {}).items():
        show(f"  {flags}: {format_bytes(size + facts['process'])}")


def _check_machine(as_json: bool) -> None:
    from dataclasses import asdict

    from stylecrafter.runtime.diagnosis import diagnose
    from stylecrafter.weights.locate import list_models

    findings = diagnose([model.name for model in list_models()])
    if as_json:
        show_json({"findings": [asdict(finding) for finding in findings]})
    for finding in () if as_json else findings:
        mark = "ok " if finding.advice is None else "!! "
        show(f"{mark} {finding.subject:<12} {finding.found}")
        if finding.advice:
            show(f"    {'':<12} -> {finding.advice}")
    if any(finding.advice for finding in findings):
        raise typer.Exit(EXIT_FAILED)
