"""The things that StyleWorld draws, and the drawing sets they are drawn in.

Every object has the same sprite in every set, so that one thing is seen by several hands. The atlas is made by
`scripts/build_atlas.py`; licences and credits lie beside it in `atlas/LICENSES.md`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch
import torch.nn.functional as F

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.styleworld.fields import rows_by_value

SPRITE_SIZE = 96
ATLAS_COLUMNS = 16

#: Drawing sets used for training. The fluent pair shares outlines and differs in shading only.
TRAIN_PACKS = ("noto", "twemoji", "fluent_flat", "fluent_3d", "line")
#: Drawing sets that no training picture ever shows.
HELD_OUT_PACKS = ("noto_v1", "emojione", "fluent_hc")
PACKS = TRAIN_PACKS + HELD_OUT_PACKS


@dataclass(frozen=True, kw_only=True)
class WorldObject:
    """One thing of the world: how it is said, and the CLDR short name that it has in the drawing sets."""

    name: str
    source: str
    group: str


def _things(group: str, names: str) -> list[WorldObject]:
    """Parse "spoken=source, same" lists; a lone name is spoken and looked up the same."""
    pairs = [entry.strip().partition("=") for entry in names.split(",")]
    return [WorldObject(name=spoken, source=source or spoken, group=group) for spoken, _, source in pairs]


#: Order matters: it is the order of the sprites in the atlas.
OBJECTS: tuple[WorldObject, ...] = tuple(
    _things(
        "animal",
        "dog, cat, fox, rabbit, horse, cow, elephant, lion, tiger, bear, panda, monkey, pig, mouse, camel, deer,"
        "unicorn, koala, wolf, bird, duck, chicken, owl, penguin, eagle, turtle, frog, snake, crocodile, dragon, fish,"
        "whale, octopus, crab, shark, dolphin, butterfly, bee=honeybee, snail, spider, ladybug=lady beetle",
    )
    + _things(
        "vehicle",
        "car=automobile, bus, bicycle, motorcycle, train=locomotive, airplane, rocket, helicopter, sailboat, ship,"
        "ambulance, truck=delivery truck, tractor, balloon, anchor",
    )
    + _things(
        "food",
        "apple=red apple, banana, grapes, lemon, strawberry, watermelon, pineapple, cherries, pear, carrot,"
        "corn=ear of corn, bread, cheese=cheese wedge, hamburger, pizza, cake=birthday cake, doughnut, cookie,"
        "ice cream=soft ice cream, egg, coffee=hot beverage",
    )
    + _things(
        "plant",
        "tree=deciduous tree, pine tree=evergreen tree, palm tree, cactus, sunflower, rose, tulip, mushroom,"
        "clover=four leaf clover, bouquet",
    )
    + _things(
        "building",
        "house, castle, church, factory, tent, tower=Tokyo tower, ferris wheel, fountain",
    )
    + _things(
        "thing",
        "guitar, violin, drum, trumpet, book=closed book, umbrella=closed umbrella, key, lamp=light bulb, candle,"
        "clock=alarm clock, camera, telephone, computer=laptop, hammer, crown, hat=top hat, shoe=running shoe, dress,"
        "backpack, gift=wrapped gift, football=soccer ball, basketball, trophy, telescope, bell, snowman, star,"
        "heart=heart suit",
    )
)

OBJECT_NAMES: tuple[str, ...] = tuple(thing.name for thing in OBJECTS)


def object_index(name: str) -> int:
    """Position of an object in `OBJECTS`; raises `UnknownNameError` for a name that is not there."""
    if name not in OBJECT_NAMES:
        raise unknown_name("object", name, OBJECT_NAMES)
    return OBJECT_NAMES.index(name)


@functools.cache
def load_sprites(pack: str) -> torch.Tensor:
    """All sprites of a drawing set: (objects, 4, 96, 96) float32 in [0, 1], colour premultiplied with alpha."""
    from PIL import Image

    if pack not in PACKS:
        raise unknown_name("drawing set", pack, PACKS)
    with resources.as_file(resources.files("stylecrafter.styleworld") / "atlas" / f"{pack}.webp") as path:
        sheet = np.asarray(Image.open(path).convert("RGBA"))
    rows = sheet.shape[0] // SPRITE_SIZE
    tiles = sheet.reshape(rows, SPRITE_SIZE, ATLAS_COLUMNS, SPRITE_SIZE, 4).transpose(0, 2, 4, 1, 3)
    sprites = (
        torch.from_numpy(tiles.reshape(-1, 4, SPRITE_SIZE, SPRITE_SIZE)[: len(OBJECTS)].copy()).float() / 255
    )
    sprites[:, :3] *= sprites[:, 3:]
    return sprites


@functools.cache
def _reduced_sprites(pack: str, shrink: int, device: torch.device) -> torch.Tensor:
    """The sprites of a set, reduced by `shrink`, kept on the device."""
    sprites = load_sprites(pack)
    return (F.avg_pool2d(sprites, shrink) if shrink > 1 else sprites).to(device)


def gather_sprites(
    pack: torch.Tensor, thing: torch.Tensor, shrink: int, device: torch.device
) -> torch.Tensor:
    """Sprites of (n,) drawing sets (on the CPU) and objects (on `device`): (n, 4, s, s), premultiplied."""
    out: torch.Tensor | None = None
    for index, rows in rows_by_value(pack, device):
        sprites = _reduced_sprites(PACKS[index], shrink, device)
        if out is None:
            out = sprites.new_empty(len(pack), *sprites.shape[1:])
        out[rows] = sprites[thing[rows]]
    if out is None:
        raise InvalidInputError("there are no sprites to gather for a batch of 0 rows")
    return out
