"""`stylecrafter models`: what is at hand, and what it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stylecrafter.cli.console import say, show

if TYPE_CHECKING:
    from stylecrafter.generation.models import ModelFacts
    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline

_OWN = """\
Base models of your own: --model FOLDER, HUB_ID or FILE, with --adapter and --image-encoder (docs/backbones.md).
Known are Stable Diffusion 1.5 and 2.1, SDXL, AnimateDiff and Wan 2.1 in the layout of diffusers; Stable Diffusion, \
SDXL and the transformer of Wan in a single file as well.
A name is looked for as an embedded model, then as a file or folder here, then in the hub's cache ({cache}), then on \
the hub."""


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show this one: embedded model, folder, hub id, or single file.", show_default=False
        ),
    ] = None,
) -> None:
    """List the embedded models, or show what one of them is and knows."""
    from stylecrafter.generation.models import look_up_model
    from stylecrafter.runtime.memory import format_bytes
    from stylecrafter.weights.card import read_card
    from stylecrafter.weights.locate import list_models

    if name is None:
        cards = [read_card(model.folder, model.name) for model in list_models()]
        for card in cards:
            numbers = f"{card.parameters / 1e6:.1f} M parameters, {format_bytes(card.size_bytes)}"
            show(f"{card.name}  {card.clip}, {numbers}, licence {card.license}")
        if not cards:
            say("no model comes with this installation; --model takes a folder or a hub id.")
        _show_where()
        return
    facts = look_up_model(name)
    if facts.outline is not None:
        _show_outline(facts, facts.outline)
        return
    card = read_card(facts.folder, name)
    show(f"{card.name}: {card.summary}" if card.summary else card.name)
    rows = {
        "clip": f"{card.clip} (sides are multiples of {facts.size_multiple})",
        "parameters": f"{card.parameters:,}",
        "size": format_bytes(card.size_bytes),
        "licence": card.license,
        "folder": str(card.folder),
        **{key.replace("_", " "): str(value) for key, value in sorted(card.defaults.items())},
        **{kind.replace("_", " "): _listed(kind, words) for kind, words in card.world.items()},
        "--fast sets": _fast(facts),
    }
    if card.world:
        rows["prompts"] = "name one object; a scene and a motion if you like"
    _show_rows(rows)


def _show_where() -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    say(_OWN.format(cache=HF_HUB_CACHE))


def _show_outline(facts: ModelFacts, outline: StyleCrafterPipeline) -> None:
    """What is known before it is loaded."""
    show(f"{facts.name}: {'a base model' if facts.is_base else 'a whole model'}, {facts.label}")
    from stylecrafter.pipelines.footprint import count_parameters

    what = "clips" if outline.backbone.has_time else "pictures"
    frames, width, height = (int(facts.default(name)) for name in ("frames", "width", "height"))
    rows = {
        "makes": f"{what}, by default {frames} x {width}x{height} (sides are multiples of {facts.size_multiple})",
        "parameters": f"{count_parameters(outline):,}",
        "scheduler": facts.scheduler,
        "configs": str(facts.folder),
        "layers for style": str(len(outline.backbone.attention_layers())),
        "text width": str(outline.backbone.text_dim),
        **{key.replace("_", " "): str(value) for key, value in sorted(facts.defaults.items())},
        "--fast sets": _fast(facts),
    }
    _show_rows(rows)
    if facts.is_base:
        say("a style needs --adapter and --image-encoder beside it")


def _show_rows(rows: dict[str, str]) -> None:
    width = max(len(label) for label in rows)
    for label, value in rows.items():
        show(f"  {label:<{width}}  {value}")


def _fast(facts: ModelFacts) -> str:
    """The knobs of its fast mode."""
    from stylecrafter.pipelines.fast import knobs_in_words

    return knobs_in_words(facts.fast) or "nothing: there is no fast mode"


def _listed(kind: str, words: list[str]) -> str:
    """The names of a kind; of all words that a model has read only how many they are."""
    return f"{len(words)} in captions" if kind == "words" else ", ".join(words)
