"""Published checkpoints -> a whole pipeline, saved and read again, in the published layout at tiny size."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file
from torch import Tensor

from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.presets import load_preset
from stylecrafter.weights import from_official
from tests.golden.support import checkpoint, draw, temporal_checkpoint

TINY: dict[str, Any] = {
    "attention_head_dim": 16,
    "num_frames": 4,
    "adapter_num_heads": 4,
    "clip_text_num_heads": 4,
    "clip_vision_num_heads": 4,
}


@pytest.fixture(scope="module")
def files() -> dict[str, Any]:
    """The four published files as mappings; model.ckpt with its schedule tables."""
    model = checkpoint("tiny", "model") | {"betas": torch.zeros(1000)}
    return {
        "videocrafter": {"state_dict": model},
        "adapter": checkpoint("tiny", "adapter"),
        "temporal": temporal_checkpoint("tiny"),
        "openclip": checkpoint("tiny", "openclip"),
    }


@pytest.fixture(scope="module")
def pipe(files: dict[str, Any]) -> StyleCrafterPipeline:
    return from_official(**files, **TINY)


def predict(pipe: StyleCrafterPipeline) -> Tensor:
    style = pipe.style_adapter.encode(draw("clip_tokens", 1, 257, 64))
    text = draw("text", 1, 77, 64)
    scales = pipe.predict_scales(style, text)
    with torch.no_grad():
        return pipe.predict_noise(draw("latents", 1, 4, 4, 8, 12), 500, text, style, scales)


def weights(pipe: StyleCrafterPipeline) -> dict[str, Tensor]:
    parts = ("unet", "vae", "text_encoder", "image_encoder", "style_adapter")
    return {
        f"{part}.{key}": value for part in parts for key, value in getattr(pipe, part).state_dict().items()
    }


def assert_same_weights(one: StyleCrafterPipeline, other: StyleCrafterPipeline) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    different = [key for key in first if not torch.equal(first[key], second[key])]
    assert different == []


def test_parts_and_their_settings(pipe: StyleCrafterPipeline) -> None:
    assert isinstance(pipe.scheduler, DDIMScheduler)
    for key, value in load_preset("published")["scheduler"].items():
        assert pipe.scheduler.config[key] == value
    assert pipe.text_encoder.config.num_hidden_layers == 2
    assert pipe.image_encoder.config.num_hidden_layers == 3
    assert pipe.vae.config["scaling_factor"] == 0.18215
    assert pipe.style_adapter.attached
    assert not any(parameter.is_meta for parameter in pipe.unet.parameters())
    assert not any(module.training for module in (pipe.unet, pipe.vae, pipe.text_encoder, pipe.image_encoder))


def test_files_give_what_mappings_give(
    files: dict[str, Any], pipe: StyleCrafterPipeline, tmp_path: Path
) -> None:
    torch.save({**files["videocrafter"], "global_step": 7}, tmp_path / "model.ckpt")
    torch.save({"state_dict": files["adapter"]}, tmp_path / "adapter_v1.pth")
    torch.save(files["temporal"], tmp_path / "temporal_v1_1.pth")
    save_file(files["openclip"], tmp_path / "open_clip_model.safetensors")
    from_files = from_official(
        tmp_path / "model.ckpt",
        str(tmp_path / "adapter_v1.pth"),
        tmp_path / "temporal_v1_1.pth",
        tmp_path / "open_clip_model.safetensors",
        **TINY,
    )
    assert_same_weights(from_files, pipe)


def test_saved_folder_reads_back(pipe: StyleCrafterPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    loaded = StyleCrafterPipeline.from_pretrained(tmp_path)
    assert_same_weights(loaded, pipe)
    settings = {key: value for key, value in pipe.config.items() if not key.startswith("_")}
    assert settings == {key: loaded.config[key] for key in settings}
    assert settings["image_tokens_half"] is True and settings["default_frames"] == 4
    torch.testing.assert_close(predict(loaded), predict(pipe))


def test_temporal_checkpoint_replaces_the_temporal_layers_alone(
    files: dict[str, Any], pipe: StyleCrafterPipeline
) -> None:
    plain = from_official(**(files | {"temporal": None}), **TINY)
    before, after = plain.unet.state_dict(), pipe.unet.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    temporal = {f"{name}.{key}" for name, m in pipe.unet.temporal_modules() for key in m.state_dict()}
    assert changed == temporal


def test_parts_that_are_not_given_are_absent(files: dict[str, Any], tmp_path: Path) -> None:
    plain = from_official(files["videocrafter"], None, **TINY)
    assert plain.style_adapter is None and plain.image_encoder is None
    plain.save_pretrained(tmp_path)
    loaded = StyleCrafterPipeline.from_pretrained(tmp_path)
    assert loaded.style_adapter is None and loaded.image_encoder is None
    text_only = loaded.predict_noise(draw("latents", 1, 4, 4, 8, 12), 500, draw("text", 1, 77, 64))
    assert text_only.shape == (1, 4, 4, 8, 12)


def test_given_tensors_stay_untouched(files: dict[str, Any]) -> None:
    pipe = from_official(**files, **TINY)
    given = {tensor.data_ptr() for tensor in files["videocrafter"]["state_dict"].values()}
    given |= {tensor.data_ptr() for tensor in files["adapter"].values()}
    assert not given & {tensor.data_ptr() for tensor in weights(pipe).values()}


def test_what_is_left_out_is_logged(files: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="stylecrafter"):
        from_official(**files, **TINY)
    messages = [record.getMessage() for record in caplog.records]
    assert any("left out 12 tensors: last block" in message for message in messages)
    assert any("left out 1 tensors: tables of the noise schedule" in message for message in messages)
    assert any("text tower, which is in the VideoCrafter checkpoint" in message for message in messages)


def without(part: str, key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda files: files | {part: {k: v for k, v in files[part].items() if k != key}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("adapter", "scale_predictor.out.2.bias"), "adapter .* 1 tensor .*head.2.bias.* missing"),
        (without("temporal", "init_attn.0"), r"temporal checkpoint .* 1 module \(init_attn.0\) missing"),
        (
            without("openclip", "visual.ln_pre.bias"),
            "image encoder .* 1 tensor .*pre_layrnorm.bias.* missing",
        ),
        (lambda files: files | {"videocrafter": files["adapter"]}, "not a VideoCrafter UNet"),
        (lambda files: files | {"adapter": files["openclip"]}, "not an adapter for this model"),
        (lambda files: files | {"temporal": files["adapter"]}, "temporal checkpoint does not fit"),
        (lambda files: files | {"openclip": "absent.bin"}, "OpenCLIP checkpoint: absent.bin: no such file"),
    ],
)
def test_files_that_do_not_fit_are_named(
    files: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        from_official(**change(files), **TINY)


def test_head_counts_that_do_not_fit_are_named(files: dict[str, Any]) -> None:
    for name in ("attention_head_dim", "adapter_num_heads", "clip_text_num_heads", "clip_vision_num_heads"):
        with pytest.raises(CheckpointError, match="sizes do not go together"):
            from_official(**files, **(TINY | {name: 24}))


def test_parts_of_different_models_are_refused(files: dict[str, Any]) -> None:
    adapter = dict(files["adapter"])
    for key, value in adapter.items():
        if key.startswith("image_context_model.") and key != "image_context_model.proj":
            shape = [
                48 if n == 64 else 4 * 48 if n == 256 else 3 * 48 if n == 192 else n for n in value.shape
            ]
            adapter[key] = torch.zeros(shape)
    adapter["image_context_model.proj"] = torch.zeros(48, 64)
    with pytest.raises(InvalidInputError, match="image encoder gives width 64, .* adapter reads width 48"):
        from_official(**(files | {"adapter": adapter}), **TINY)
