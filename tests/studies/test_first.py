from __future__ import annotations

from stylecrafter.studies.first_experiments import QUICK, run


def test_the_study_at_toy_size(world_model: str) -> None:
    result = run(world_model, QUICK, seed=2)
    tables = {table.title: table for table in result.tables}
    assert [row[0] for row in tables["The adapter on one picture"].rows] == ["predicted", "text alone"]
    assert [row[0] for row in tables["Scale-adaptive fusion"].rows] == ["predicted", "s = 1", "text alone"]
    factors = tables["Factors over references and prompts"]
    assert len(factors.rows) == 3 and len(factors.head) == 3
    clips = {row[0]: row[1:] for row in tables["The complete pipeline on clips"].rows}
    assert list(clips) == ["with the style", "text alone", "real renders"]
    # Real renders are painted in the very style: another of three references is seldom nearer.
    assert all(0 <= style <= 1 for style in result.data["clips"]["real renders"]["style ↑"])
    assert sum(result.data["clips"]["real renders"]["style ↑"]) >= 1
    one = result.sheets["one_picture"]
    assert one.width > 3 * 96 and one.height > 2 * 96
