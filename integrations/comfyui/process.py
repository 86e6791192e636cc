"""Running the command `stylecrafter` once: its answer, what it says on the way, its end."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from .command import StyleCrafterError, find_command

logger = logging.getLogger("stylecrafter.comfyui")

_POLL_SECONDS = 0.1
_SECONDS_TO_TIDY_UP = 10
_LAST_LINES = 5


def ask(
    options: list[str],
    rest: list[str],
    on_progress: Callable[[dict[str, Any]], None],
    check: Callable[[], None],
) -> dict[str, Any]:
    """Run a command that answers with one json object.

    Args:
        options: After the command's name, and before what is added here; no shell reads them.
        rest: After everything else.
        on_progress: Given every line of progress: `{"step": …, "steps": …}` or `{"entry": …, "entries": …}`.
        check: Called several times a second; what it raises ends the process and is passed on.

    Raises:
        StyleCrafterError: The process failed; its own words.
    """
    said: list[str] = []

    def listen(line: str) -> None:
        progress = _json_object(line)
        if progress is not None:
            on_progress(progress)
        elif line:
            said.append(line)
            if line.startswith("warning: "):
                logger.warning("%s", line[len("warning: ") :])

    command = find_command()
    code, answer = _run([*command, *options, "--json", "--json-progress", *rest], listen, check)
    if code != 0:
        raise StyleCrafterError(_reason(said, code))
    result = _json_object(answer.strip())
    if result is None:
        raise StyleCrafterError(f"{' '.join(command)} gave no json: is it the command stylecrafter?")
    return result


def _reason(said: list[str], code: int) -> str:
    errors = [line[len("error: ") :] for line in said if line.startswith("error: ")]
    return (
        "\n".join(errors or said[-_LAST_LINES:]) or f"stylecrafter ended with code {code} and said nothing."
    )


def _json_object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _run(words: list[str], listen: Callable[[str], None], check: Callable[[], None]) -> tuple[int, str]:
    """The exit code and all of stdout; no process is left behind, however this ends."""
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            start_new_session=os.name != "nt",  # a group, that may be ended as a whole
        )
    except OSError as error:
        raise StyleCrafterError(f"{words[0]} cannot be run: {error.strerror or error}.") from error
    answer: list[str] = []
    lines: queue.Queue[str | None] = queue.Queue()
    readers = [
        threading.Thread(target=_read_all, args=(process.stdout, answer), daemon=True),
        threading.Thread(target=_read_lines, args=(process.stderr, lines), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        while True:
            check()
            try:
                line = lines.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if line is None:
                break
            listen(line.strip())
        while process.poll() is None:  # it may close stderr before it ends
            check()
            time.sleep(_POLL_SECONDS)
    finally:
        _end(process)
        for reader in readers:
            reader.join(_SECONDS_TO_TIDY_UP)
    return process.returncode, "".join(answer)


def _read_all(stream: IO[str], into: list[str]) -> None:
    with stream:
        into.append(stream.read())


def _read_lines(stream: IO[str], into: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            into.put(line)
    into.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    """Ask it to end, which removes what is half written; after a while, end it."""
    if process.poll() is not None:
        return
    _signal(process, "SIGTERM")
    try:
        process.wait(_SECONDS_TO_TIDY_UP)
    except subprocess.TimeoutExpired:
        _signal(process, "SIGKILL")
        process.wait()


def _signal(process: subprocess.Popen[str], name: str) -> None:
    if os.name == "nt":
        process.kill()
        return
    try:
        os.killpg(process.pid, getattr(signal, name))
    except ProcessLookupError:
        pass  # it has just ended
