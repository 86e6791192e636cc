"""The public names are a promise, and importing them is free."""

from __future__ import annotations

import subprocess
import sys

import pytest

import stylecrafter


def test_the_public_names_are_these_and_all_resolve() -> None:
    assert stylecrafter.__all__ == [
        "ShortcutAutoencoder",
        "StyleAdapter",
        "StyleCrafterImagePipeline",
        "StyleCrafterPipeline",
        "VideoCrafterUNet",
        "__version__",
    ]
    for name in stylecrafter.__all__:
        assert getattr(stylecrafter, name) is not None
    assert set(dir(stylecrafter)) == set(stylecrafter.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="StyleCrafter2"):
        stylecrafter.StyleCrafter2  # noqa: B018


@pytest.mark.process
def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = {"torch", "diffusers", "transformers", "av", "numpy", "PIL", "pydantic", "typer"}
    assert not heavy & imported_by("import stylecrafter")


@pytest.mark.process
def test_help_of_every_command_imports_nothing_heavy() -> None:
    heavy = {
        "torch",
        "diffusers",
        "transformers",
        "accelerate",
        "huggingface_hub",
        "av",
        "numpy",
        "PIL",
        "yaml",
    }
    code = (
        "import sys\n"
        "from stylecrafter.cli.__main__ import main\n"
        "from stylecrafter.cli.main import app\n"
        "for name in [[], *([command.callback.__name__] for command in app.registered_commands)]:\n"
        "    sys.argv[1:] = [*name, '--help']\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, name"
    )
    assert not heavy & imported_by(code)


def imported_by(code: str) -> set[str]:
    """Packages that a fresh process has imported when it has run some code."""
    code += "\nimport sys; print('\\n', *sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in out.stdout.splitlines()[-1].split()}
