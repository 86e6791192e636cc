"""What goes to the hub: the files, and a card that says what they are; the hub itself is stood in for at its border."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from stylecrafter.media.documents import parse_yaml
from tests.tiny import tiny_image_pipeline, tiny_pipeline


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for each repository; what is uploaded is copied there."""

    def create_repo(repo_id: str, **_: Any) -> Any:
        (tmp_path / repo_id).mkdir(parents=True, exist_ok=True)
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(repo_id: str, folder_path: str, path_in_repo: str | None, **_: Any) -> str:
        shutil.copytree(folder_path, tmp_path / repo_id / (path_in_repo or ""), dirs_exist_ok=True)
        return f"https://huggingface.co/{repo_id}"

    monkeypatch.setattr(huggingface_hub, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload_folder)
    monkeypatch.setattr(
        huggingface_hub, "file_exists", lambda repo, name, **_: (tmp_path / repo / name).exists()
    )
    return tmp_path


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    _, head, body = (folder / "README.md").read_text().split("---\n", 2)
    return parse_yaml(head, "the head"), body


def test_an_adapter(hub: Path) -> None:
    adapter = tiny_pipeline().style_adapter
    facts = {"license": "mit", "base_model": "someone/base", "training": "Ten thousand etchings."}
    assert adapter.push_to_hub("me/etchings", **facts).endswith("me/etchings")
    head, body = card_of(hub / "me/etchings")
    assert head == {
        "library_name": "stylecrafter",
        "license": "mit",
        "base_model": "someone/base",
        "tags": ["stylecrafter", "style-transfer", "style-adapter"],
    }
    assert body.startswith("\n# etchings\n") and "Ten thousand etchings." in body
    assert f"VideoCrafterUNet, {adapter.num_layers} cross-attention layers, text of width 16" in body
    assert 'StyleCrafterPipeline.from_pretrained("someone/base")\npipe.load_adapter("me/etchings")' in body
    other = tiny_image_pipeline().style_adapter.hub_card("me/other", base_model="a/b").text()
    assert 'StyleCrafterPipeline.from_base("a/b")\npipe.load_adapter("me/other", image_encoder=' in other
    loaded = StyleAdapter.from_pretrained(hub / "me/etchings")
    for name, value in adapter.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_a_whole_model(hub: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = shutil.copytree(tiny_model, hub / "mine")
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\nA toy.\n")
    pipe = StyleCrafterPipeline.from_pretrained(folder)
    pipe.push_to_hub("me/toy")
    head, body = card_of(hub / "me/toy")
    assert head["license"] == "cc-by-4.0" and "base_model" not in head
    assert "VideoCrafter, VideoCrafterUNet" in body and "CLIPVisionModel, width 16, 16 pixels" in body
    assert "| makes | 3 frames of 24x16 |" in body and "Nothing is stated about its training." in body
    assert 'StyleCrafterPipeline.from_pretrained("me/toy")' in body
    StyleCrafterPipeline.from_pretrained(hub / "me/toy")
    (hub / "me/toy/README.md").write_text("my own words")
    with caplog.at_level(logging.WARNING):
        pipe.push_to_hub("me/toy", license="mit")
    assert (hub / "me/toy/README.md").read_text() == "my own words"
    assert "me/toy has a README.md, which stays as it is." in caplog.text
    pipe.style_adapter.push_to_hub("me/toy", subfolder="adapter", license="mit")
    assert (hub / "me/toy/adapter/config.json").exists() and not (hub / "me/toy/adapter/README.md").exists()


def test_nothing_is_made_up() -> None:
    pipe = tiny_pipeline()
    plain = StyleCrafterPipeline(**{**pipe.components, "style_adapter": None, "image_encoder": None})
    text = plain.hub_card("me/plain").text()
    assert (
        "| licence | not stated |" in text and "| style adapter | none |" in text and "license:" not in text
    )
    assert 'out = pipe("a red fox running")' in text
    pipe.style_adapter.detach()
    card = pipe.style_adapter.hub_card("me/loose").text()
    assert (
        f"| base model | {pipe.style_adapter.num_layers} cross-attention layers" in card
        and "folder or hub id of the base model" in card
    )
