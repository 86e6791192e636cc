"""Styles into the user's library, and their small pictures out of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from stylecrafter.errors import unknown_name
from stylecrafter.generation.engine import Engine
from stylecrafter.generation.models import look_up_model
from stylecrafter.generation.paths import user_path
from stylecrafter.generation.settings import StyleInput, check_style_count
from stylecrafter.media.documents import is_file, is_folder, shown
from stylecrafter.media.files import check_writable, write_atomic
from stylecrafter.media.images import read_picture
from stylecrafter.media.overwriting import refuse_overwriting
from stylecrafter.references.saved_style import SavedStyle, read_style
from stylecrafter.references.style_library import check_free, style_file

#: Suffix -> what Pillow calls the format.
THUMBNAIL_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


def save_style(
    name: str,
    styles: Sequence[StyleInput],
    corners: bool | None = None,
    model: str = "mini",
    device: str = "auto",
    dtype: str = "auto",
    *,
    force: bool = False,
    **parts: str | None,
) -> SavedStyle:
    """Read a style off pictures and keep it under a name.

    Args:
        name: In the user's library.
        styles: Pictures and their weights.
        corners: Read a single picture by its corners too; None: as the model does.
        model: Embedded name, folder or hub id; the style belongs to its adapter.
        device: Where its image encoder runs.
        dtype: Its number format.
        force: Replace a style of that name.
        **parts: What stands beside the model, as `look_up_model` takes it.

    Raises:
        InvalidInputError: A name that cannot be, a model without adapter, or weights that do not fit.
        ImageReadError: A picture that cannot be read.
        OutputError: There is such a style already, or the disk does not take it.
    """
    file = style_file(name)
    check_free(file, force)
    check_writable(file)
    check_style_count(len(styles))
    paths = [user_path(style.path) for style in styles]
    for path in paths:  # before the model is loaded
        read_picture(path)
    facts = look_up_model(model, **parts)
    facts.check_styles()
    refuse_overwriting([file], [*paths, *facts.files], facts.folders)
    pipe = Engine(facts, device, dtype).pipe
    weights = [style.weight for style in styles]
    # A folder says who sits before the machine; its name is enough.
    source = facts.parts["adapter"].name if "adapter" in facts.parts else facts.name
    called = Path(source).name if is_folder(source) or is_file(source) else source
    return read_style(pipe.save_style(name, paths, weights, corners, force=force, adapter_name=called))


def write_thumbnail(style: SavedStyle, output: str | os.PathLike[str]) -> Path:
    """Write the small picture of a style.

    Raises:
        UnknownNameError: A suffix of no such format.
        ImageReadError: The picture in the style is damaged.
        OutputError: The disk does not take it.
    """
    suffix = Path(output).suffix.lower()
    if suffix not in THUMBNAIL_FORMATS:
        raise unknown_name("picture format", shown(suffix), THUMBNAIL_FORMATS)
    refuse_overwriting([output], [style.path])
    image: Image.Image = style.picture()
    file = BytesIO()
    image.save(file, THUMBNAIL_FORMATS[suffix])
    return write_atomic(output, file.getvalue())
