"""`stylecrafter doctor`: what is installed, what works, what to do where it does not."""

from __future__ import annotations

import typer

from stylecrafter.cli.console import EXIT_FAILED, show


def doctor() -> None:
    """Check the installation and this machine."""
    from stylecrafter.runtime.diagnosis import diagnose
    from stylecrafter.weights.locate import list_models

    findings = diagnose([model.name for model in list_models()])
    for finding in findings:
        mark = "ok " if finding.advice is None else "!! "
        show(f"{mark} {finding.subject:<12} {finding.found}")
        if finding.advice:
            show(f"    {'':<12} -> {finding.advice}")
    if any(finding.advice for finding in findings):
        raise typer.Exit(EXIT_FAILED)
