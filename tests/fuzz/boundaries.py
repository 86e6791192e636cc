"""The boundaries: where something of the user's is read. Each is a strategy of inputs and what reads them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save as save_tensors

from stylecrafter.cli.options import make_settings
from stylecrafter.data.captions import CaptionCleaning, clean_caption
from stylecrafter.data.check import check_data
from stylecrafter.data.manifest import find_records
from stylecrafter.evaluation.methods import read_style_texts
from stylecrafter.evaluation.report import read_evaluations
from stylecrafter.evaluation.testset import read_testset
from stylecrafter.evaluation.truth.world_set import WorldSetSpec
from stylecrafter.generation.batch import run_batch
from stylecrafter.generation.batch_file import read_entries
from stylecrafter.generation.models import look_up_model
from stylecrafter.generation.record import GenerationRecord, ModelReference, StyleReference, read_record
from stylecrafter.generation.replay import replay
from stylecrafter.generation.settings import prepare
from stylecrafter.media.clips import index_clip, read_clip
from stylecrafter.media.documents import parse_json, parse_yaml
from stylecrafter.media.images import load_picture
from stylecrafter.media.video import read_frames, write_frames
from stylecrafter.pipelines.loading import load_pipeline
from stylecrafter.pipelines.sampling_params import SamplingParams, parse_size
from stylecrafter.references.saved_style import About, Source, read_style, style_bytes
from stylecrafter.references.style_library import need_saved
from stylecrafter.runtime.devices import resolve_device
from stylecrafter.training.checkpoint import load_checkpoint, save_checkpoint
from stylecrafter.training.recipe_files import find_recipe, load_recipe
from stylecrafter.weights.card import read_card
from stylecrafter.weights.footprint import estimate_memory
from stylecrafter.weights.formats.checkpoint_files import read_checkpoint, tensors_only
from stylecrafter.weights.locate import resolve_model, weights_hash
from tests.fuzz.damage import ABSURD, absurd, changed, damaged, json_of, texts
from tests.tiny import tiny_picture, tiny_pipeline


@dataclass(frozen=True)
class Boundary:
    """One place where input of any kind arrives.

    Attributes:
        inputs: What arrives.
        read: What is done with it, given an empty folder.
        examples: How many are tried in continuous integration, by what one costs.
        refuses: Whether some of it is refused as a whole; others set aside what they cannot use.
    """

    name: str
    inputs: Callable[[], st.SearchStrategy[Any]]
    read: Callable[[Any, Path], object]
    examples: int = 60
    refuses: bool = True


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# ---- originals ------------------------------------------------------------------------------------------------


@cache
def record() -> dict[str, Any]:
    """The settings of a clip, as they stand in files."""
    made = GenerationRecord(
        kind="video",
        prompt="a red fox",
        styles=[StyleReference(name="style.png", sha256="0" * 64, path="style.png")],
        seed=3,
        frames=3,
        width=24,
        height=16,
        fps=4.0,
        steps=2,
        scheduler="ddim",
        eta=0.0,
        text_guidance=5.0,
        style_guidance=2.0,
        published_guidance=False,
        style_scale=1.0,
        device="cpu",
        dtype="float32",
        model=ModelReference(name="mini", sha256="1" * 64),
        versions={"torch": "2.13.0"},
    )
    return made.model_dump()


def written(suffix: str, metadata: dict[str, Any] | None = None) -> bytes:
    """A clip of three frames, or an image, as we write it."""
    import tempfile

    frames = [tiny_picture(k, 24, 16) for k in range(1 if suffix == ".png" else 3)]
    with tempfile.TemporaryDirectory() as folder:
        return write_frames(frames, Path(folder) / f"x{suffix}", 4.0, metadata).read_bytes()


@cache
def clips() -> dict[str, bytes]:
    """A clip in every format that we write, and in some that others do."""
    return {suffix: written(suffix, record()) for suffix in (".mp4", ".gif", ".webp", ".png")} | {
        f".{name}": _encoded(name, codec)
        for name, codec in (("avi", "mpeg4"), ("mkv", "libx264"), ("webm", "libvpx-vp9"), ("ts", "libx264"))
    }


def _encoded(container: str, codec: str) -> bytes:
    import av

    buffer = io.BytesIO()
    kind = {"mkv": "matroska", "ts": "mpegts"}.get(container, container)
    with av.open(buffer, "w", format=kind) as target:
        stream: Any = target.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for k in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), 60 * k, np.uint8), format="rgb24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return buffer.getvalue()


@cache
def images() -> list[bytes]:
    """One image in each of many formats, with profiles and EXIF where they can hold them."""
    picture, found = tiny_picture(1), []
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind, image, extra in (
        ("PNG", picture.convert("RGBA"), {"icc_profile": profile, "exif": exif}),
        ("PNG", picture.quantize(16), {}),
        ("PNG", picture.convert("I;16"), {}),
        ("JPEG", picture, {"icc_profile": profile, "exif": exif}),
        ("JPEG", picture.convert("CMYK"), {}),
        ("GIF", picture, {}),
        ("WEBP", picture.convert("RGBA"), {"exif": exif}),
        ("TIFF", picture, {"exif": exif, "icc_profile": profile}),
        ("TIFF", picture.convert("F"), {}),
        ("BMP", picture, {}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind, **extra)
        found.append(buffer.getvalue())
    return found


@cache
def checkpoints() -> dict[str, bytes]:
    """Weights as safetensors and in torch's format, with the wrappings that published ones have."""
    state = {"a.weight": torch.ones(2, 3), "b.bias": torch.zeros(3, dtype=torch.float16)}
    found = {".safetensors": save_tensors(state)}
    for name, content in ((".pt", state), (".ckpt", {"state_dict": state, "epoch": 3})):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        found[name] = buffer.getvalue()
    return found


@cache
def model_files() -> dict[str, bytes]:
    """Every file of a tiny model folder."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        tiny_pipeline().save_pretrained(folder)
        root = Path(folder)
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


def model_folder(folder: Path, replaced: dict[str, bytes] | None = None) -> Path:
    for name, data in {**model_files(), **(replaced or {})}.items():
        _file(folder, name, data)
    return folder


# ---- documents ------------------------------------------------------------------------------------------------

_ENTRIES = [{"prompt": "a fox", "style_path": "a.png"}, {"prompt": "a cat", "style_path": ["a.png", "b.png"]}]


def _read_settings_file(data: bytes, folder: Path) -> None:
    content = json.loads(json.dumps({"stylecrafter": record()}))
    content["stylecrafter"] = parse_json(data, "record")
    Image.new("RGB", (24, 16)).save(folder / "x.gif", comment=json.dumps(content).encode("ascii"))
    read_record(folder / "x.gif")
    if content["stylecrafter"].get("model", {}).get("sha256") != record()["model"]["sha256"]:
        return  # without the hash of other weights it might be drawn, which takes long
    replay(folder / "x.gif", folder / "y.gif")


def _read_batch(data: bytes, folder: Path) -> None:
    entries = read_entries(_file(folder, "batch.json", data))
    assert all(len(entry.name.encode()) < 200 and "/" not in entry.name for entry in entries)


def _resume_batch(damage: tuple[str, bytes], folder: Path) -> None:
    name, data = damage
    for path, content in batch_files().items():
        _file(folder, path, content)
    _file(folder, f"out/{name}", data)
    settings = make_settings(prompt="", styles=[], size=None, model=str(folder / "model"), device="cpu")
    run_batch(folder / "prompts.json", folder / "out", settings, suffix=".png", resume=True)


@cache
def batch_files() -> dict[str, bytes]:
    """A finished batch, its model beside it."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        model_folder(root / "model")
        tiny_picture(1).save(root / "a.png")
        _file(root, "prompts.json", json.dumps(_ENTRIES[:1]).encode())
        settings = make_settings(
            prompt="", styles=[], size=None, model=str(root / "model"), device="cpu", seed=1
        )
        run_batch(root / "prompts.json", root / "out", settings, suffix=".png")
        return {
            p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
        }


def _batch_damage() -> st.SearchStrategy[tuple[str, bytes]]:
    files = {
        name.removeprefix("out/"): data for name, data in batch_files().items() if name.startswith("out/")
    }
    shared = json.loads(files["batch.json"])
    line = json.loads(files["results.jsonl"])
    lines = st.lists(changed(line).map(lambda entry: json.dumps(entry).encode()), max_size=3).map(b"\n".join)
    image = next(name for name in files if name.endswith(".png"))
    return st.one_of(
        json_of(shared).map(lambda data: ("batch.json", data)),
        st.one_of(lines, damaged([files["results.jsonl"]])).map(lambda data: ("results.jsonl", data)),
        damaged([files[image]]).map(lambda data: (image, data)),
    )


def _recipe() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(find_recipe("smoke").read_text(encoding="utf-8"))
    return content


def _recipes() -> st.SearchStrategy[bytes]:
    def dumped(content: Any) -> bytes:
        return yaml.safe_dump(content, allow_unicode=False).encode()

    # YAML writes no integer of 400 digits and no lone surrogate that it could read again; json is YAML too.
    return st.one_of(
        changed(_recipe()).map(lambda content: json.dumps(content).encode()),
        damaged([dumped(_recipe()), find_recipe("finetune").read_bytes()]),
    )


def _changes() -> st.SearchStrategy[list[str]]:
    keys = st.sampled_from(
        "name seed model.preset model data.pictures.kind data.pictures.path data.x.path stages.base.train.steps "
        "stages.0.train.learning_rate stages.9.x stages.base stages samples.prompts samples.styles samples.size "
        "stages.base.options.clip_ratio . .. =".split()
    )
    values = st.one_of(texts, st.sampled_from([repr(value) for value in ABSURD[:20]]))
    return st.lists(st.one_of(st.tuples(keys, values).map("=".join), texts), min_size=1, max_size=3)


def _settings() -> st.SearchStrategy[dict[str, Any]]:
    names = (*SamplingParams.knobs(), "prompt", "model", "device", "dtype")
    return st.fixed_dictionaries(
        {}, optional={name: absurd for name in names} | {"styles": st.lists(texts, max_size=3), "size": texts}
    )


def _use_settings(values: dict[str, Any], folder: Path) -> None:
    model = folder if "model" not in values else None
    if model is not None:
        model_folder(folder)
    styles = [Path(text) for text in values.pop("styles", [])]
    given = {"prompt": "a fox", "model": str(folder), **values}
    settings = make_settings(styles=styles, **given)
    resolve_device(settings.device)
    if "/" in settings.model and not Path(settings.model).is_absolute():
        return  # a hub id would be fetched
    for suffix in (".mp4", ".gif", ".webp", ".png"):
        prepare(settings, suffix)


def _evaluation(data: bytes, folder: Path) -> None:
    read_evaluations(_file(folder, "runs/ours.json", data))


def _style_texts(data: bytes, folder: Path) -> None:
    read_style_texts(_file(folder, "style_texts.json", data))


def _truth(data: bytes, folder: Path) -> None:
    _file(folder, "testset.json", json.dumps(_ENTRIES).encode())
    _file(folder, "truth.json", data)
    read_testset(folder / "testset.json")


# ---- models and weights -----------------------------------------------------------------------------------------


def _model_damage() -> st.SearchStrategy[tuple[str, bytes]]:
    def of(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
        data = model_files()[name]
        strategy = json_of(json.loads(data)) if name.endswith(".json") else damaged([data])
        return strategy.map(lambda content: (name, content))

    return st.sampled_from(sorted(model_files())).flatmap(of)


def _load_model(damage: tuple[str, bytes], folder: Path) -> None:
    model_folder(folder, dict([damage]))
    look_up_model(str(folder))
    read_card(folder)
    estimate_memory(folder, 3, 24, 16)
    weights_hash(folder)
    pipe = load_pipeline(folder, torch.float32)
    pipe.set_progress_bar_config(disable=True)
    if any(
        value > 64
        for name, value in pipe.config.items()
        if name.startswith("default_") and not isinstance(value, str)
    ):
        return  # larger clips than a test has time for
    out: Any = pipe(
        "a red fox", style_images=[tiny_picture()], num_inference_steps=1, num_frames=1, height=16, width=24
    )
    assert np.isfinite(np.asarray(out.frames[0][0])).all()


def _read_weights(damage: tuple[str, bytes], folder: Path) -> None:
    name, data = damage
    tensors_only(read_checkpoint(_file(folder, f"weights{name}", data), "adapter"), "adapter")


def _weights_damage() -> st.SearchStrategy[tuple[str, bytes]]:
    return st.sampled_from(sorted(checkpoints())).flatmap(
        lambda name: damaged([checkpoints()[name]]).map(lambda data: (name, data))
    )


@cache
def style_file() -> bytes:
    """A saved style."""
    about = About(adapter="toy", encoder="CLIP", corners=False, sources=(Source(name="a.png", sha256="0"),))
    return style_bytes(np.ones((2, 4), np.float32), np.ones((3, 2)), [tiny_picture()], about)


def _read_style(data: bytes, folder: Path) -> None:
    read_style(_file(folder, "ink.safetensors", data)).picture()


def _training_checkpoints() -> st.SearchStrategy[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint-00000001.pt"
        save_checkpoint({"step": 1, "weights": {"a": torch.ones(3)}, "config": {"steps": 3}}, path)
        return damaged([path.read_bytes()])


def _read_training_checkpoint(data: bytes, folder: Path) -> None:
    load_checkpoint(_file(folder, "checkpoint-00000001.pt", data))


# ---- images and clips -------------------------------------------------------------------------------------------


def _read_image(data: bytes, folder: Path) -> None:
    image = load_picture(_file(folder, "x.png", data))
    assert image.mode == "RGB"


def _clip_damage() -> st.SearchStrategy[tuple[str, bytes]]:
    pairs = st.tuples(st.sampled_from(sorted(clips())), st.sampled_from(sorted(clips())), st.integers(0, 9))
    return pairs.flatmap(
        # One in ten has the name of another format.
        lambda pair: damaged([clips()[pair[0]]]).map(
            lambda data: (pair[1] if pair[2] == 0 else pair[0], data)
        )
    )


def _read_clip(damage: tuple[str, bytes], folder: Path) -> None:
    suffix, data = damage
    path = _file(folder, f"x{suffix}", data)
    for source in (path, data):
        index = index_clip(source, path.name)
        read_clip(source, path.name, index, range(min(4, len(index.times))), lambda _, frame: frame)


def _read_whole_clip(damage: tuple[str, bytes], folder: Path) -> None:
    suffix, data = damage
    read_frames(_file(folder, f"x{suffix}", data))


def _read_record_of(damage: tuple[str, bytes], folder: Path) -> None:
    suffix, data = damage
    read_record(_file(folder, f"x{suffix}", data))


# ---- training data ----------------------------------------------------------------------------------------------


@cache
def data_files() -> dict[str, bytes]:
    """Training data of every kind in one folder."""
    image = images()[3]
    rows = [{"path": "a.jpg", "caption": "a fox"}, {"path": "b.jpg", "caption": "a cat, oil painting"}]
    return {
        "a.jpg": image,
        "b.jpg": image,
        "a.txt": b"a fox, oil painting",
        "b.json": json.dumps({"caption": "a cat", "style_group": "x"}).encode(),
        "b.caption": b"a cat",
        "list.csv": b'path,caption\na.jpg,a fox\nb.jpg,"a cat, sitting"\n',
        "list.jsonl": b"\n".join(json.dumps(row).encode() for row in rows),
        "metadata.jsonl": json.dumps({"file_name": "a.jpg", "text": "a fox"}).encode(),
        "shard.tar": _tar(
            {"1.jpg": image, "1.txt": b"a dog", "2.jpg": image, "2.json": b'{"caption": "a cow"}'}
        ),
    }


def _tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), {"comment": "ä" * 120}
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _data_damage() -> st.SearchStrategy[tuple[str, bytes]]:
    return st.sampled_from(sorted(data_files())).flatmap(
        lambda name: damaged([data_files()[name]]).map(lambda data: (name, data))
    )


def _check_data(damage: tuple[str, bytes], folder: Path) -> None:
    for name, data in {**data_files(), **dict([damage])}.items():
        _file(folder, name, data)
    for name in ("list.csv", "list.jsonl", "shard.tar", ""):
        found = find_records(folder / name)
        # What one damaged file holds must not cost the others.
        if not name:
            assert sum(record.offset is None for record in found.records) >= 1
    check_data(folder)


def _clean(text: str, folder: Path) -> None:
    for cleaning in CaptionCleaning:
        cleaned = clean_caption(text, cleaning)
        assert clean_caption(cleaned, cleaning) == cleaned


# ---- names --------------------------------------------------------------------------------------------------------


def _use_name(name: str, folder: Path) -> None:
    from stylecrafter.errors import InvalidInputError
    from stylecrafter.media.files import check_writable

    readers: tuple[Callable[[], object], ...] = (
        lambda: load_picture(name),
        lambda: read_entries(name),
        lambda: read_record(name),
        lambda: read_frames(name),
        lambda: find_records(name),
        lambda: resolve_model(name),
        lambda: load_recipe(name),
        lambda: read_checkpoint(name, "adapter"),
        lambda: read_testset(name),
        lambda: read_evaluations(Path(name)),
        lambda: check_writable(folder / name) if not name.startswith(("/", "..")) else None,
        lambda: parse_size(name),
        lambda: need_saved(name),
    )
    for read in readers:
        try:
            read()
        except InvalidInputError:
            continue


BOUNDARIES = (
    Boundary(
        "json", lambda: st.one_of(json_of(record()), st.binary(max_size=50)), lambda d, _: parse_json(d, "x")
    ),
    Boundary(
        "yaml",
        lambda: st.one_of(texts, _recipes().map(lambda d: d.decode("latin-1"))),
        lambda d, _: parse_yaml(d, "x"),
    ),
    Boundary("settings in a file", lambda: json_of(record()), _read_settings_file),
    Boundary("batch file", lambda: json_of(_ENTRIES), _read_batch, 100),
    Boundary("batch folder", _batch_damage, _resume_batch, 15),
    Boundary("generation settings", _settings, _use_settings),
    Boundary("recipe", _recipes, lambda data, folder: load_recipe(_file(folder, "r.yaml", data)), 80),
    Boundary("changes to a recipe", _changes, lambda changes, _: load_recipe("smoke", changes), 60),
    Boundary("evaluation", lambda: json_of(_an_evaluation()), _evaluation),
    Boundary("words for styles", lambda: json_of({"a.png": "oil, {prompt}"}), _style_texts, 30),
    Boundary("truth of a test set", lambda: json_of(WorldSetSpec().model_dump()), _truth, 25),
    Boundary("model folder", _model_damage, _load_model, 25),
    Boundary("checkpoint", _weights_damage, _read_weights),
    Boundary("saved style", lambda: damaged([style_file()]), _read_style),
    Boundary("training checkpoint", _training_checkpoints, _read_training_checkpoint, 40),
    Boundary("image", lambda: damaged(images()), _read_image, 150),
    Boundary("clip", _clip_damage, _read_clip, 80),
    Boundary("whole clip", _clip_damage, _read_whole_clip, 60),
    Boundary("settings inside a clip", _clip_damage, _read_record_of, 60),
    Boundary("training data", _data_damage, _check_data, 60, refuses=False),
    Boundary(
        "caption",
        lambda: st.one_of(texts, st.lists(_caption_words(), max_size=40).map(" ".join)),
        _clean,
        120,
        refuses=False,
    ),
    Boundary(
        "name", lambda: st.one_of(texts, texts.map(lambda text: f"{text}.png")), _use_name, 60, refuses=False
    ),
)


def _an_evaluation() -> dict[str, Any]:
    return {
        "format": 1,
        "title": "ours",
        "clips_in": "clips",
        "settings": {"seed": 0},
        "metrics": [],
        "clips": [],
        "excluded": {},
    }


def _caption_words() -> st.SearchStrategy[str]:
    return st.sampled_from(
        "a fox (outdoors) , . in the style of art by and Monet oil painting 1girl solo rain [x] {y} artstation "
        "trending on -- | : <lora:x:1> watercolor".split(" ")
    )
