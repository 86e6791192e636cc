"""What is typed behind --set: text stays text, wherever the recipe's types say that text stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.recipe_files import find_recipe, load_recipe
from stylecrafter.training.recipe_keys import keys_at, kinds_at, read_value, single_kinds

#: What YAML takes for a number, a date, nothing, true, a mapping, a list or a comment.
TRICKY = ["2024_01_15", "2024-01-15", "12:30", "1e3", "007", "on", "No", "null", "a: b", "my pics #1", "[x]", "'q'",
          "&a", "*a", "!tag", "$HOME/x", "a=b", "{", "%"]  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("text", TRICKY)
def test_text_is_taken_as_it_is_typed(text: str, tmp_path: Path) -> None:
    prompt, style = f"samples.prompts={text}", f"samples.styles.0={text}"
    changes = [
        f"data.mine.path={text}",
        f"description={text}",
        f"model.pretrained={text}x",
        "samples.styles=[a]",
    ]
    recipe = load_recipe("finetune", [*changes, style, *([prompt] if text != "[x]" else [])])
    assert recipe.data["mine"].path == str(tmp_path / text)
    assert recipe.description == text and recipe.model.pretrained == f"{text}x"
    assert recipe.samples is not None and recipe.samples.styles == [str(tmp_path / text)]
    assert text == "[x]" or recipe.samples.prompts == [text]


def test_lists_of_texts_are_yaml_lists_of_text_or_one_text() -> None:
    recipe = load_recipe("finetune", ['samples.prompts=[a dog, yes, 1e3, null, 12:30, "a: b, # c", ~]'])
    assert recipe.samples is not None
    assert recipe.samples.prompts == ["a dog", "yes", "1e3", "null", "12:30", "a: b, # c", "~"]
    for wrong in ("[a: b]", "[[a]]", "[a, b", "[a, {b: c}]"):
        if wrong.endswith("]"):
            with pytest.raises(InvalidInputError, match="samples.prompts"):
                load_recipe("finetune", [f"samples.prompts={wrong}"])
        else:
            assert load_recipe("finetune", [f"samples.prompts={wrong}"]).samples.prompts == [wrong]  # type: ignore[union-attr]


def test_a_leading_tilde_is_the_home_folder(tmp_path: Path) -> None:
    changes = ["data.mine.path=~/x", "samples.styles=[~/a.png, '~$b.png', ./~/c.png]"]
    recipe = load_recipe("finetune", changes)
    home = tmp_path / "home"
    assert recipe.data["mine"].path == str(home / "x")
    assert recipe.samples is not None
    assert recipe.samples.styles == [
        str(home / "a.png"),
        str(tmp_path / "~$b.png"),
        str(tmp_path / "~" / "c.png"),
    ]
    assert load_recipe("finetune", ["data.mine.path=~nosuchuser/x"]).data["mine"].path == str(
        tmp_path / "~nosuchuser" / "x"
    )
    # The same in a recipe's own file.
    text = find_recipe("finetune").read_text().replace("my_pictures/,", "~/x,")
    (tmp_path / "own.yaml").write_text(text)
    assert load_recipe("own.yaml").standalone().data["mine"].path == str(home / "x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.mine.pth=x", "data.mine: unknown key 'pth'. Did you mean 'path'?"),
        ("data.mine.pth=[", "Did you mean 'path'?"),
        ("modle.x=1", "Did you mean 'model'?"),
        ("stages.0.train.step=3", "stages.0.train: unknown key 'step'. Did you mean 'steps'?"),
        ("stages.extractor.options.clipratio=0", "Did you mean 'clip_ratio'?"),
        ("adapter.scale_typ=fixed", "Did you mean 'scale_type'?"),
        ("samples.prmpts=x", "Did you mean 'prompts'?"),
        ("folder=x", "unknown key 'folder'"),
        ("stages.7.train.steps=1", "'7'"),
        ("data.mine.path.x=1", "unknown key 'x'|holds no keys"),
        ("data.mine.path=", "data.mine.path must not be empty"),
        ("samples.prompts=", "must not be empty"),
        ("stages.0.train.steps=12:30", "must be a whole number, got '12:30'"),
        ("stages.0.train.steps=1e3", "whole number, got '1e3'"),
        ("stages.0.train.steps=[", "not YAML"),
        ("data.mine={kind: files, path: 2024_01_15, batch_size: 8}", "data.mine.path must be text, got 20240115"),
        ("seed=" + "9" * 5000, "seed"),
        ("seed=0x" + "f" * 9000, "a number of 9,002 characters"),
        ("=3", "key=value"),
        ("name", "key=value"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_one_line_with_the_place(change: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said.replace("?", r"\?")) as caught:
        load_recipe("finetune", [change])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_changes_and_the_recipe_are_refused_together() -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_recipe("finetune", ["modle=1", "data.mine.batch_size=0", "samples.prmpts=x"])
    for said in ("3 faults", "'modle'", "data.mine.batch_size must be at least 1, got 0", "'prmpts'"):
        assert said in str(caught.value)


def test_what_may_be_absent_can_be_taken_away() -> None:
    changes = ["model.preset=mini", "model.warm_start=mini", "stages.0.stage=adapter", "model.pretrained="]
    recipe = load_recipe("finetune", [*changes, "model.warm_start=null"])
    assert (recipe.model.pretrained, recipe.model.preset, recipe.model.warm_start) == (None, "mini", None)


def test_a_new_source_is_known_by_its_kind_or_before_it() -> None:
    for order in (["kind=files", "path=on"], ["path=on", "kind=files"]):
        recipe = load_recipe("finetune", [f"data.new.{change}" for change in [*order, "batch_size=4"]])
        assert recipe.data["new"].path.endswith("/on") and recipe.data["new"].batch_size == 4
    raw: dict[str, Any] = {"data": {"new": {"kind": "mix"}}, "stages": [{"stage": "clip"}]}
    assert keys_at(("data", "new"), raw) == ["batch_size", "kind", "of", "unit"]
    assert keys_at(("stages", "clip", "options"), raw) == ["style_weight"]
    assert kinds_at(("data", "new", "nothing"), raw) == []


def test_a_warmup_follows_steps_that_are_lowered_alone() -> None:
    def warmup(*changes: str) -> int:
        return load_recipe("finetune", list(changes)).stages[0].train.warmup

    assert warmup() == warmup("stages.0.train.steps=20") == 20
    assert warmup("stages.extractor.train.steps=3") == warmup("stages.0.train.steps=0003") == 3
    for changes in (
        ("stages.0.train.steps=3", "stages.0.train.warmup_steps=4"),
        ("stages.0.train.warmup_steps=101",),
    ):
        with pytest.raises(InvalidInputError, match="warmup_steps must be at most"):
            warmup(*changes)


def test_numbers_with_zeros_in_front_are_decimal() -> None:
    """Those of checkpoints have them; YAML would read 192."""
    assert load_recipe("finetune", ["stages.0.train.steps=00000300"]).stages[0].train.steps == 300


def test_other_settings_are_read_by_their_types() -> None:
    assert read_value("1e3", single_kinds(str), "x") == "1e3"
    assert read_value("[1, 2]", single_kinds(tuple[float, ...]), "x") == [1, 2]
    assert read_value("null", single_kinds(int | None), "x") is None
    assert read_value("yes", single_kinds(bool), "x") is True
