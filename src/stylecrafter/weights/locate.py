"""From the name a user gives to the folder that holds the model.

A model is recognised by what its `model_index.json` says, never by how its files are called.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylecrafter.errors import CheckpointError, InvalidInputError, OutputError, unknown_name
from stylecrafter.media.documents import expand_home, is_file, is_folder, read_bytes, read_json, shown
from stylecrafter.media.files import write_atomic
from stylecrafter.media.recognise import recognise_file
from stylecrafter.weights.configs import read_config
from stylecrafter.weights.folders import INDEX_NAME, OWN_PIPELINES, PARTS, TOKENIZER_FILES, weight_files

logger = logging.getLogger(__name__)

EMBEDDED_ROOT = Path(__file__).parent

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Below this, hashing takes less time than a user notices and a cache is not worth its file.
_CACHE_FROM_BYTES = 256 * 2**20
_CACHE_ENTRIES = 1000
_SHA256 = re.compile(r"[0-9a-f]{64}")
# The hub has no longer names.
_MAX_HUB_ID = 193
#: Of a model, all but its weights.
_CONFIGS = ("*.json", "*.txt", "*.model")
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".ckpt", ".pt", ".pth")
# Not the hidden ones, which systems leave beside files on foreign disks.
_TORCH_NAMES = ("[!.]*.bin", "[!.]*.pt", "[!.]*.pth", "[!.]*.ckpt")
_SETTINGS = ("config.json", "scheduler_config.json", *TOKENIZER_FILES)
#: Of configs: what saving writes of itself.
_VOLATILE = (
    "_diffusers_version",
    "transformers_version",
    "_name_or_path",
    "_commit_hash",
    "dtype",
    "torch_dtype",
    "default_",
)


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
    path = expand_home(text)
    if is_folder(path):
        return str(_check_folder(path))
    if is_file(path):
        found = recognise_file(path)
        raise CheckpointError(
            f"{shown(text)} is {found or 'a file'}, a model is a folder: "
            "turn published checkpoints into one with `stylecrafter convert`."
        )
    if len(text) <= _MAX_HUB_ID and _HUB_ID.fullmatch(text):
        return text
    hint = f"Run `stylecrafter models`, or give a folder that holds a {INDEX_NAME}, or a hub id."
    raise unknown_name("model", shown(text), embedded, hint)


def fetch_model(name: str | os.PathLike[str]) -> Path:
    """As `resolve_model`, with a hub id brought into the local cache; always returns a folder.

    Raises:
        CheckpointError: Also when the hub cannot be reached or has no such model.
        UnknownNameError: As `resolve_model`.
    """
    found = resolve_model(name)
    return Path(found) if is_folder(found) else _fetched_model(found)


def fetch_configs(hub_id: str) -> Path:
    """The configs and tokenizers of a model on the hub, without its weights; returns their folder.

    Raises:
        CheckpointError: The hub cannot be reached, or has no such model.
    """
    return _fetched_model(hub_id, allow_patterns=list(_CONFIGS))


def fetch_part(name: str, what: str) -> Path:
    """A file or folder that stands beside a model; what is on the hub is fetched.

    Args:
        name: A path, or "owner/name" of the hub, also with a folder or file inside: "owner/name/models/a.safetensors".
        what: What it is, for messages ("image_encoder").

    Raises:
        CheckpointError: There is no such thing.
    """
    words = what.replace("_", " ")
    path = expand_home(name)
    if is_file(path) or is_folder(path):
        return Path(path).resolve()
    owner, _, rest = name.partition("/")
    repo, _, inside = rest.partition("/")
    if len(name) > _MAX_HUB_ID or not _HUB_ID.fullmatch(f"{owner}/{repo}") or name.endswith("/"):
        raise CheckpointError(f"the {words} {shown(name)!r} is no file or folder here, and no hub id.")
    from huggingface_hub import hf_hub_download, snapshot_download

    with _from_hub(f"the {words} {shown(name)!r} is no file or folder here, and could not be fetched"):
        if Path(inside).suffix in _WEIGHT_SUFFIXES:
            return Path(hf_hub_download(f"{owner}/{repo}", inside))
        patterns = _CONFIGS if what == "base_config" else ("*.json", *(f"*{s}" for s in _WEIGHT_SUFFIXES))
        wanted = [f"{inside}/{pattern}" if inside else pattern for pattern in patterns]
        return Path(
            snapshot_download(f"{owner}/{repo}", allow_patterns=wanted, ignore_patterns=["*.fp16.*"]), inside
        )


def _fetched_model(hub_id: str, **options: Any) -> Path:
    from huggingface_hub import snapshot_download

    known = ", ".join(model.name for model in list_models()) or "none"
    hint = f" Known: {known}. Run `stylecrafter models` to see what works without a network."
    what = (
        f"model {hub_id!r} is no folder here, not in the local cache, and could not be fetched from the hub"
    )
    with _from_hub(what, hint):
        return _check_folder(Path(snapshot_download(hub_id, **options)))


@contextmanager
def _from_hub(what: str, hint: str = "") -> Iterator[None]:
    """Say in one line why something did not come from the hub."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (OSError, ValueError, HfHubHTTPError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{what} ({reason}).{hint}") from error


def weights_hash(folder: str | os.PathLike[str]) -> str:
    """sha256 over the names and the contents of all weights of a model, in order of their names.

    These are all safetensors files, and the torch files of parts that have none: a part that has both is loaded from
    its safetensors. So folders of safetensors alone keep the value that earlier versions recorded. Large files are
    hashed once and remembered by path, size and time of change.

    Raises:
        CheckpointError: A file that cannot be read.
    """
    return parts_hash(folder) if is_file(folder) else _digest(folder, _weights(Path(folder)))


def parts_hash(place: str | os.PathLike[str]) -> str:
    """sha256 of a single file, or `weights_hash` of a folder.

    Raises:
        CheckpointError: A file that cannot be read.
    """
    return _file_hash(Path(place)) if is_file(place) else weights_hash(place)


def settings_hash(folder: str | os.PathLike[str]) -> str:
    """sha256 over all else that decides what a model draws: its configs, scheduler and tokenizer.

    Versions of libraries and where a model was loaded from, which saving writes anew, do not count; nor do the defaults
    of its index, since a record holds what was used.

    Raises:
        CheckpointError: A file that cannot be read.
    """
    root = Path(folder)
    digest = hashlib.sha256()
    for file in sorted(_settings(root), key=lambda p: p.relative_to(root).as_posix()):
        name = file.relative_to(root).as_posix()
        if file.suffix == ".json":
            values = {
                k: v for k, v in read_config(file, required=True).items() if not k.startswith(_VOLATILE)
            }
            content = json.dumps(values, sort_keys=True).encode()
        else:
            content = read_bytes(file, error=CheckpointError)
        digest.update(f"{name}\n{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def same_weights(folder: str | os.PathLike[str], recorded: str | None) -> bool:
    """Whether a model holds the weights of a record: also of one from when only safetensors were hashed.

    Such a record says nothing of torch files, which is logged.
    """
    if not recorded or recorded == weights_hash(folder):
        return True
    root = Path(folder)
    if recorded != _digest(root, _safetensors(root)):
        return False
    logger.warning(
        "the record is of a version that did not look at .bin weights: whether they are the same, "
        "cannot be told"
    )
    return True


def _weights(root: Path) -> list[Path]:
    if (index := read_config(root / INDEX_NAME)) and index.get("_class_name") not in OWN_PIPELINES:
        return _weights_of_base(root, index)
    safe = _safetensors(root)
    covered = {file.parent for file in safe}
    others = (file for pattern in _TORCH_NAMES for file in root.rglob(pattern))
    return safe + [file for file in others if file.parent not in covered and is_file(file)]


def _weights_of_base(root: Path, index: dict[str, Any]) -> list[Path]:
    """The files that a base model is loaded from: others of the same model may lie beside them, or come later."""
    found = []
    for name in PARTS:
        entry = index.get(name)
        if isinstance(entry, list) and entry[:1] in (["diffusers"], ["transformers"]):
            if not (name == "scheduler" or name.startswith("tokenizer")):
                found += weight_files(root / name, of_diffusers=entry[0] == "diffusers")
    return found


def _safetensors(root: Path) -> list[Path]:
    return [file for file in root.rglob("[!.]*.safetensors") if is_file(file)]


def _settings(root: Path) -> list[Path]:
    """The index, and what loaders read beside the weights of the parts; files of others may lie there too."""
    files = [root / INDEX_NAME, *(root / part / name for part in PARTS for name in _SETTINGS)]
    return [file for file in files if is_file(file)]


def _digest(folder: str | os.PathLike[str], files: list[Path]) -> str:
    root = Path(folder)
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda p: p.relative_to(root).as_posix()):
        digest.update(f"{file.relative_to(root).as_posix()}\n{_file_hash(file)}\n".encode())
    return digest.hexdigest()


def _file_hash(file: Path) -> str:
    try:
        info = file.stat()
        if info.st_size < _CACHE_FROM_BYTES:
            return _compute_hash(file)
        # What is put in another's place with its time of change has its own time of arrival.
        key = f"{file.resolve()}|{info.st_size}|{info.st_mtime_ns}|{info.st_ctime_ns}"
        cache_file = _cache_file()
        cache = _read_cache(cache_file)
        if key in cache:
            return cache[key]
        value = _compute_hash(file)
    except OSError as error:
        raise CheckpointError(f"{shown(file)} cannot be read: {error.strerror or error}.") from error
    # Read again: another process may have hashed something meanwhile.
    kept = list(_read_cache(cache_file).items())[-_CACHE_ENTRIES:]
    try:
        write_atomic(cache_file, json.dumps({**dict(kept), key: value}).encode())
    except OutputError as error:
        logger.info("hash of %s not remembered: %s", file, error)
    return value


def _cache_file() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or expand_home("~/.cache")
    return Path(root) / "stylecrafter" / "hashes.json"


def _read_cache(file: Path) -> dict[str, str]:
    if not is_file(file):
        return {}
    try:
        content = read_json(file)
    except InvalidInputError as error:
        logger.info("hashes are computed anew: %s", error)
        return {}
    entries = content.items() if isinstance(content, dict) else ()
    return {key: value for key, value in entries if isinstance(value, str) and _SHA256.fullmatch(value)}


def _compute_hash(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _index_problem(folder: Path) -> str | None:
    """What is wrong with the index of a model folder; None where nothing is."""
    try:
        kind = read_config(folder / INDEX_NAME, required=True).get("_class_name")
    except CheckpointError as error:
        return str(error)
    return None if isinstance(kind, str) else f"its {INDEX_NAME} names no pipeline (_class_name)."


def _is_model(folder: Path) -> bool:
    return _index_problem(folder) is None


def _check_folder(folder: Path) -> Path:
    problem = _index_problem(folder)
    try:
        if problem is None:
            return folder.resolve()
        inside = sorted(p.name for p in folder.iterdir() if is_folder(p) and _is_model(p))
    except OSError as error:
        raise CheckpointError(f"{shown(folder)} cannot be read: {error.strerror or error}.") from error
    if os.path.lexists(folder / INDEX_NAME):
        raise CheckpointError(f"{shown(folder)} is damaged: {problem}")
    if inside:
        raise CheckpointError(
            f"{shown(folder)} holds no {INDEX_NAME}, but {', '.join(map(shown, inside[:5]))} in it do: name one of "
            "them."
        )
    raise CheckpointError(
        f"{shown(folder)} is no model folder: it holds no {INDEX_NAME}. "
        "Published checkpoints become one with `stylecrafter convert`; `stylecrafter models` lists others."
    )
