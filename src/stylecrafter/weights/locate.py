"""From the name a user gives to the folder that holds the model.

A model is recognised by what its `model_index.json` says, never by how its files are called.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from stylecrafter.errors import CheckpointError, unknown_name

logger = logging.getLogger(__name__)

EMBEDDED_ROOT = Path(__file__).parent
INDEX_NAME = "model_index.json"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Below this, hashing takes less time than a user notices and a cache is not worth its file.
_CACHE_FROM_BYTES = 256 * 2**20


@dataclass(frozen=True)
class EmbeddedModel:
    """A model that comes with the package."""

    name: str
    folder: Path


def list_models() -> list[EmbeddedModel]:
    """The models that come with the package, by name."""
    folders = (index.parent for index in EMBEDDED_ROOT.glob(f"*/{INDEX_NAME}"))
    return [EmbeddedModel(folder.name, folder) for folder in sorted(folders) if _is_model(folder)]


def resolve_model(name: str | os.PathLike[str]) -> str:
    """Find a model without touching the network.

    Args:
        name: An embedded name, a folder that holds a `model_index.json`, or a hub id ("owner/name").

    Returns:
        The folder of the embedded or local model; a hub id as it is.

    Raises:
        CheckpointError: There is such a file or folder, but it is no model; the message says what to do.
        UnknownNameError: There is nothing of that name; the message lists what there is.
    """
    text = os.fspath(name)
    embedded = {model.name: model.folder for model in list_models()}
    if text in embedded:
        return str(embedded[text])
    path = Path(text).expanduser()
    if path.is_dir():
        return str(_check_folder(path))
    if path.is_file():
        raise CheckpointError(
            f"{text} is a file, a model is a folder: "
            "turn published checkpoints into one with `stylecrafter convert`."
        )
    if _HUB_ID.fullmatch(text):
        return text
    hint = f"Run `stylecrafter models`, or give a folder that holds a {INDEX_NAME}, or a hub id."
    raise unknown_name("model", text, embedded, hint)


def fetch_model(name: str | os.PathLike[str]) -> Path:
    """As `resolve_model`, with a hub id brought into the local cache; always returns a folder.

    Raises:
        CheckpointError: Also when the hub cannot be reached or has no such model.
        UnknownNameError: As `resolve_model`.
    """
    found = resolve_model(name)
    if Path(found).is_dir():
        return Path(found)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return _check_folder(Path(snapshot_download(found)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        if isinstance(error, CheckpointError):
            raise
        known = ", ".join(model.name for model in list_models()) or "none"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"model {found!r} is no folder here, not in the local cache, and could not be fetched from the "
            f"hub ({reason}). Known: {known}. Run `stylecrafter models` to see what works without a network."
        ) from error


def weights_hash(folder: str | os.PathLike[str]) -> str:
    """sha256 over the names and the contents of all safetensors files of a model, in order of their names.

    Large models are hashed once and remembered by path, size and time of change.
    """
    root = Path(folder)
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.safetensors"), key=lambda p: p.relative_to(root).as_posix()):
        digest.update(f"{file.relative_to(root).as_posix()}\n{_file_hash(file)}\n".encode())
    return digest.hexdigest()


def _file_hash(file: Path) -> str:
    info = file.stat()
    if info.st_size < _CACHE_FROM_BYTES:
        return _compute_hash(file)
    key = f"{file.resolve()}|{info.st_size}|{info.st_mtime_ns}"
    cache_file = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stylecrafter" / "hashes.json"
    )
    try:
        cache = json.loads(cache_file.read_text())
    except (OSError, ValueError):
        cache = {}
    if isinstance(cache, dict) and isinstance(cache.get(key), str):
        return str(cache[key])
    value = _compute_hash(file)
    try:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        cache_file.write_text(json.dumps({**(cache if isinstance(cache, dict) else {}), key: value}))
    except OSError as error:
        logger.info("hash of %s not remembered: %s", file, error)
    return value


def _compute_hash(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_model(folder: Path) -> bool:
    try:
        index = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and isinstance(index.get("_class_name"), str)


def _check_folder(folder: Path) -> Path:
    if _is_model(folder):
        return folder.resolve()
    if (folder / INDEX_NAME).exists():
        raise CheckpointError(f"{folder}: its {INDEX_NAME} is damaged or names no pipeline (_class_name).")
    inside = sorted(p.name for p in folder.iterdir() if _is_model(p)) if os.access(folder, os.R_OK) else []
    if inside:
        raise CheckpointError(
            f"{folder} holds no {INDEX_NAME}, but {', '.join(inside[:5])} in it do: name one of them."
        )
    raise CheckpointError(
        f"{folder} is no model folder: it holds no {INDEX_NAME}. "
        "Published checkpoints become one with `stylecrafter convert`; `stylecrafter models` lists others."
    )
