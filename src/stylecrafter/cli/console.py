"""How commands speak: results on stdout, everything else as single lines on stderr."""

from __future__ import annotations

import _thread
import contextlib
import io
import json
import logging
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from stylecrafter.cli.streams import ResultStream, occupy_standard_streams, visible, write_line
from stylecrafter.errors import InvalidInputError, OutputError, StyleCrafterError

EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130
DEBUG = "STYLECRAFTER_DEBUG"
_LONGEST = 4000


_inside_the_hook = threading.Lock()


class CommandGroup(TyperGroup):
    """A group of commands that ends every failure in one line and the right exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except (
            TyperException,
            typer.Abort,
            StyleCrafterError,
            KeyboardInterrupt,
            MemoryError,
            RuntimeError,
        ) as error:
            if os.environ.get(DEBUG) and not isinstance(error, TyperException):
                raise
            code = report(error)
        _forget_interruptions()
        if standalone_mode:
            sys.exit(code if isinstance(code, int) else EXIT_OK)
        return code

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # Typer would end with the code and without a word.
            say("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _forget_interruptions() -> None:
    # Python remembers a KeyboardInterrupt that left an `exec` of text (as dataclasses and namedtuples use it),
    # and at its very end kills itself with SIGINT even if the exception was handled. Any other `exec` resets that.
    exec("")


def report(error: BaseException) -> int:
    """Say what went wrong in one line on stderr; returns the exit code.

    Raises:
        BaseException: The error itself, where it is a fault of the program.
    """
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        say("interrupted")
        return EXIT_INTERRUPTED
    if isinstance(error, TyperException):
        if not error.format_message():
            return int(error.exit_code)  # the help was shown instead
        context = getattr(error, "ctx", None)
        where = f" (see `{context.command_path} --help`)" if context is not None else ""
        # Newer versions of typer check values by pydantic, which puts its own words before the message.
        say(f"error: {error.format_message().replace('Value error, ', '')}{where}")
        return int(error.exit_code)
    if isinstance(error, StyleCrafterError):
        say(f"error: {error}")
        return EXIT_BAD_INPUT if isinstance(error, InvalidInputError) else EXIT_FAILED
    if _is_out_of_memory(error):
        say("error: out of memory; use fewer frames (--frames), a smaller size (--size) or another --device.")
        return EXIT_FAILED
    raise error


def _is_out_of_memory(error: BaseException) -> bool:
    # torch raises its own class on accelerators and a plain RuntimeError on the CPU.
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def say(message: str) -> None:
    """One line on stderr, whatever the message; where nobody can hear it, it is lost."""
    line = visible(" ".join(message.split()))
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
    with contextlib.suppress(OSError):
        write_line(sys.stderr, line)


def say_json(**content: Any) -> None:
    """One json object on stderr, for a program that follows what is done; where nobody listens, it is lost."""
    with contextlib.suppress(OSError):
        write_line(sys.stderr, json.dumps(content))


def show(text: str = "") -> None:
    """A line of the result on stdout.

    Raises:
        OutputError: Nobody takes it.
    """
    _write_result(visible(text))


def show_json(content: Any) -> None:
    """The result as one json object on stdout: ASCII, and hence right in any encoding.

    Raises:
        OutputError: Nobody takes it.
    """
    _write_result(json.dumps(_finite(content), allow_nan=False))


def _finite(content: Any) -> Any:
    """Json has no infinity and no "not a number"; they are null."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _write_result(text: str) -> None:
    if sys.stdout is None:
        raise OutputError("the result cannot be shown: standard output is closed.")
    write_line(sys.stdout, text)


def quiet_libraries() -> None:
    """Keep advice meant for programmers off the user's screen, our own warnings on it."""
    if os.environ.get(DEBUG):
        logging.basicConfig(level=logging.INFO)
        return
    warnings.simplefilter("ignore")
    for variable, value in (
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("DIFFUSERS_VERBOSITY", "error"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "0" if sys.stderr.isatty() else "1"),
    ):
        os.environ.setdefault(variable, value)
    logging.getLogger("stylecrafter").handlers[:] = [_Sayer()]


class _Sayer(logging.Handler):
    """Our warnings in the same form as everything else."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{record.levelname.lower()}: {record.getMessage()}")


def check_working_folder() -> None:
    """Every relative path starts there, and libraries ask for it.

    Raises:
        InvalidInputError: It is gone.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise InvalidInputError(
            f"the working folder cannot be used ({error.strerror}): change into another one (cd)."
        ) from error


def prepare_process() -> None:
    """Let a terminated process clean up as an interrupted one does, and let any text be shown."""
    occupy_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may hold what the terminal cannot show
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = ResultStream(sys.stdout)

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, stop)
    sys.unraisablehook = _deliver_again


def _deliver_again(unraisable: sys.UnraisableHookArgs) -> None:
    """A stop that arrived while an object was being finalised, where Python drops exceptions, arrives once more."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        number = signal.SIGINT
    elif isinstance(unraisable.exc_value, SystemExit):
        number = signal.SIGTERM
    else:
        sys.__unraisablehook__(unraisable)
        return
    # From another thread and once this hook is left: what is raised in here would be dropped as well.
    with _inside_the_hook:
        _thread.start_new_thread(_raise_later, (number,))


def _raise_later(number: int) -> None:
    with _inside_the_hook:
        pass
    time.sleep(0.01)
    signal.raise_signal(number)
