"""The pages of the documentation, and the code in them, for tests that hold pages to what the program does."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; with a reason, it is shown and not run."""

    language: str
    code: str
    reason: str | None


def pages() -> list[str]:
    """Every page that a person writes, as a path from the root; reports of runs are not among them."""
    written = [page for page in (ROOT / "docs").rglob("*.md") if page.name not in ("report.md", "tables.md")]
    firsts = ["README.md", "CONTRIBUTING.md", "integrations/comfyui/README.md"]
    return [*firsts, *sorted(page.relative_to(ROOT).as_posix() for page in written)]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """The fenced blocks of a page, in these languages."""
    found = [
        Block(block["language"], block["code"], block["reason"]) for block in _BLOCK.finditer(text_of(page))
    ]
    return [block for block in found if block.language in languages]


def run_python(page: str, folder: Path) -> dict[str, Any]:
    """Run the Python blocks of a page one after another in a folder that has the examples; what they leave."""
    (folder / "examples").symlink_to(ROOT / "examples")
    code = [block.code for block in blocks(page, "python") if block.reason is None]
    names: dict[str, Any] = {}
    before = os.getcwd()
    os.chdir(folder)
    try:
        exec(compile("\n".join(code), page, "exec"), names)
    finally:
        os.chdir(before)
    return names
