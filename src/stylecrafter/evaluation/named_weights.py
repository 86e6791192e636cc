"""Weights of metrics as a user names them, looked at before anything is fetched, made or measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from stylecrafter.errors import CheckpointError
from stylecrafter.media.documents import is_file, is_folder, read_json, shown
from stylecrafter.media.recognise import recognise_file
from stylecrafter.weights.locate import INDEX_NAME, list_models

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_encoder(source: str, option: str, kind: str, model_type: str | None = None) -> None:
    """Refuse what can be no encoder; a hub id is taken as it is.

    Args:
        source: Folder or hub id, as it was given.
        option: What it was given by, for messages ("--clip").
        kind: What is needed, for messages ("CLIP").
        model_type: What the config of a folder must say; None: anything.

    Raises:
        CheckpointError: No such folder, a model or part of one that is something else, or neither folder nor hub id.
    """
    given = f"{option} {shown(source)}"
    whole = f"name the folder or hub id of a whole {kind}"
    if kind == "CLIP":
        whole += " (a training run from nothing leaves its own in clip_model)"
    folder = Path(source)
    if source in {model.name for model in list_models()} or (source and is_file(folder / INDEX_NAME)):
        why = ", whose encoders are towers without a space in common" if kind == "CLIP" else f", no {kind}"
        raise CheckpointError(f"{given} is a pipeline{why}; {whole}")
    if is_folder(source):
        _check_config(folder, given, kind, model_type, whole)
    elif is_file(source):
        raise CheckpointError(f"{given} is {recognise_file(source) or 'a file'}, not a folder; {whole}")
    elif not _HUB_ID.fullmatch(source):
        raise CheckpointError(f"{given}: there is no such folder, and a hub id is OWNER/NAME; {whole}")


def check_files(files: Mapping[str, Path | None]) -> None:
    """Refuse checkpoints that are not there; each stands under the option it was given by.

    Raises:
        CheckpointError: One is missing, or a folder.
    """
    for option, path in files.items():
        if path is not None and not is_file(path):
            what = "is a folder, not a file" if is_folder(path) else "there is no such file"
            raise CheckpointError(f"{option} {shown(path)}: {what}")


def _check_config(folder: Path, given: str, kind: str, model_type: str | None, whole: str) -> None:
    if not is_file(folder / "config.json"):
        raise CheckpointError(f"{given} is no {kind}: the folder holds no config.json; {whole}")
    config = read_json(folder / "config.json", error=CheckpointError)
    found = config.get("model_type") if isinstance(config, dict) else None
    if model_type is not None and found != model_type:
        raise CheckpointError(
            f"{given} is no whole {kind}: its config.json names the model type {found!r}, not {model_type!r}; {whole}"
        )
