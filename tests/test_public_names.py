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
    heavy = ("torch", "diffusers", "transformers", "av")
    code = f"import sys, stylecrafter; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
