"""`stylecrafter models`: what is at hand, and what it knows."""

from __future__ import annotations

from typing import Annotated

import typer

from stylecrafter.cli.console import say, show


def models(
    name: Annotated[
        str | None,
        typer.Argument(help="Show this one: embedded model, folder, or hub id.", show_default=False),
    ] = None,
) -> None:
    """List the embedded models, or show what one of them is and knows."""
    from stylecrafter.runtime.memory import format_bytes
    from stylecrafter.weights.card import read_card
    from stylecrafter.weights.locate import fetch_model, list_models

    if name is None:
        cards = [read_card(model.folder, model.name) for model in list_models()]
        for card in cards:
            numbers = f"{card.parameters / 1e6:.1f} M parameters, {format_bytes(card.size_bytes)}"
            show(f"{card.name}  {card.clip}, {numbers}, licence {card.license}")
        if not cards:
            say("no model comes with this installation; --model takes a folder or a hub id.")
        return
    card = read_card(fetch_model(name), name)
    show(f"{card.name}: {card.summary}" if card.summary else card.name)
    rows = {
        "clip": f"{card.clip} (sides are multiples of {card.size_multiple})",
        "parameters": f"{card.parameters:,}",
        "size": format_bytes(card.size_bytes),
        "licence": card.license,
        "folder": str(card.folder),
        **{key.replace("_", " "): str(value) for key, value in sorted(card.defaults.items())},
        **{kind.replace("_", " "): _listed(kind, words) for kind, words in card.world.items()},
    }
    if card.world:
        rows["prompts"] = "name one object; a scene and a motion if you like"
    width = max(len(label) for label in rows)
    for label, value in rows.items():
        show(f"  {label:<{width}}  {value}")


def _listed(kind: str, words: list[str]) -> str:
    """The names of a kind; of all words that a model has read only how many they are."""
    return f"{len(words)} in captions" if kind == "words" else ", ".join(words)
