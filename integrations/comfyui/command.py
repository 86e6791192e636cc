"""Where the command `stylecrafter` is: a variable, a file beside the nodes, or the search path, in this order."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

VARIABLE = "STYLECRAFTER_COMMAND"
SETTINGS = Path(__file__).with_name("stylecrafter.json")
_ADVICE = (
    f"set {VARIABLE} to the command, or to the python of the environment that StyleCrafter is installed in, or write "
    f'{{"command": "…"}} into {SETTINGS}, and start ComfyUI again'
)


class StyleCrafterError(RuntimeError):
    """What a user of the nodes is told."""


def find_command() -> list[str]:
    """The words that a command line begins with.

    Raises:
        StyleCrafterError: There is no such command; the message says where it can be named.
    """
    given = os.environ.get(VARIABLE) or _from_settings()
    words = _words(given) if given else ["stylecrafter"]
    program = shutil.which(os.path.expanduser(words[0])) if words else None
    if program is None:
        raise StyleCrafterError(f"the command {' '.join(words) or given!r} cannot be run: {_ADVICE}.")
    if len(words) == 1 and Path(program).name.lower().startswith("python"):
        return [program, "-m", "stylecrafter.cli"]
    return [program, *words[1:]]


def _from_settings() -> str | list[str] | None:
    if not SETTINGS.exists():
        return None
    try:
        content = json.loads(SETTINGS.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StyleCrafterError(f"{SETTINGS} cannot be read: {error}") from error
    command = content.get("command") if isinstance(content, dict) else None
    listed = isinstance(command, list) and command and all(isinstance(word, str) for word in command)
    if not listed and not (isinstance(command, str) and command):
        raise StyleCrafterError(f'{SETTINGS} must be {{"command": "…"}}, with a text or a list of texts.')
    return command


def _words(given: str | list[str]) -> list[str]:
    """A path with spaces in it is one word."""
    if isinstance(given, list):
        return given
    if Path(os.path.expanduser(given)).is_file():
        return [given]
    words = shlex.split(given, posix=os.name != "nt")
    return [word.strip('"') for word in words] if os.name == "nt" else words
