"""Words of style: the lists of `style_words.txt`, read when they are first asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("style_words.txt")


@cache
def style_words() -> dict[str, tuple[str, ...]]:
    """Name of a list -> its phrases, in lower case."""
    lists: dict[str, str] = {}
    name = ""
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
            lists[name] = ""
        elif not line.startswith("#"):
            lists[name] = f"{lists.get(name, '')} {line}"
    return {
        name: tuple(" ".join(phrase.split()) for phrase in text.split(","))
        for name, text in lists.items()
        if name
    }
