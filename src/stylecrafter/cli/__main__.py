"""Entry point of the console script and of `python -m stylecrafter.cli`."""

from __future__ import annotations

from stylecrafter.runtime.environment import let_threads_sleep


def main() -> None:
    let_threads_sleep()  # before anything can load torch
    try:
        from stylecrafter.cli.main import main as run_command_line
    except KeyboardInterrupt:  # while the modules are read, before anyone listens
        raise SystemExit(130) from None
    run_command_line()


if __name__ == "__main__":
    main()
