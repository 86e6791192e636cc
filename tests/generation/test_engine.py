from __future__ import annotations

from pathlib import Path

import pytest

from stylecrafter.generation.engine import recorded_model_name
from stylecrafter.generation.settings import ModelFacts


def name_of(given: str, folder: Path, output: str) -> str:
    return recorded_model_name(ModelFacts(given, folder, 4, "DDIMScheduler", True, {}), output)


@pytest.mark.parametrize("name", ["toy", "~toy", "~no-such-user", "a:b"])
def test_a_models_folder_is_recorded_without_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / name).mkdir(parents=True)
    folder = tmp_path / "models" / name
    assert name_of(f"models/{name}", folder, "out/a.mp4") == name
    assert name_of(str(folder), folder, "out/a.mp4") == name
    assert name_of(f"models/{name}", folder, "a.mp4") == f"./models/{name}"
    monkeypatch.chdir(tmp_path / "models")
    assert name_of(name, folder, "../out/a.mp4") == name
    assert name_of(name, folder, "a.mp4") == f"./{name}"


def test_names_that_mean_the_same_everywhere_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    assert name_of("mini", tmp_path / "mini", "a.mp4") == "mini"  # the embedded one goes before a folder
    assert name_of("owner/name", tmp_path, "a.mp4") == "owner/name"
