"""docs/generation.md says what is so: its code runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stylecrafter.schedules import __doc__ as schedules

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "generation.md").read_text(encoding="utf-8")


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(snippets) == 3
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec("\n".join(snippets), names)
    wanted = dict.fromkeys(("rising", "late", "softer", "both", "closer", "whole"), (1, 4)) | {
        "one_each": (2, 4)
    }
    frames = {name: names[name].frames for name in wanted}  # type: ignore[attr-defined]
    assert {name: (len(clips), len(clips[0])) for name, clips in frames.items()} == wanted
    assert (np.asarray(frames["closer"][0][0]) != np.asarray(frames["whole"][0][0])).any()


def test_every_schedule_is_named() -> None:
    for name in re.findall(r"^(\w+)\(", schedules or "", re.MULTILINE):
        assert f"`{name}" in PAGE
