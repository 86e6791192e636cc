"""docs/generation.md says what is so: its code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stylecrafter.schedules import __doc__ as schedules

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "generation.md").read_text(encoding="utf-8")


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(snippets) == 2
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec("\n".join(snippets), names)
    frames = {name: names[name].frames for name in ("rising", "late", "softer", "both", "one_each")}  # type: ignore[attr-defined]
    assert {name: (len(clips), len(clips[0])) for name, clips in frames.items()} == {
        "rising": (1, 4), "late": (1, 4), "softer": (1, 4), "both": (1, 4), "one_each": (2, 4),
    }  # fmt: skip


def test_every_schedule_is_named() -> None:
    for name in re.findall(r"^(\w+)\(", schedules or "", re.MULTILINE):
        assert f"`{name}" in PAGE
