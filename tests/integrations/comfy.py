"""The rules by which ComfyUI checks and runs a workflow, as far as nodes can tell, written for tests.

Where ComfyUI shrugs (an input that a node does not have), this refuses: examples should have none.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image

PACK = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"
Workflow = dict[str, dict[str, Any]]
Nodes = dict[str, Any]
WIDGETS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def load_pack() -> ModuleType:
    """As ComfyUI loads a folder of nodes: by its path, under a name made of it."""
    name = "custom_nodes_stylecrafter"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, PACK / "__init__.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def inputs_of(node: Any) -> dict[str, tuple[Any, dict[str, Any], bool]]:
    """Type, options and whether it must be there, of every input by its name."""
    declared = node.INPUT_TYPES()
    return {
        name: (spec[0], spec[1] if len(spec) > 1 else {}, part == "required")
        for part in ("required", "optional")
        for name, spec in declared.get(part, {}).items()
    }


def is_link(value: Any) -> bool:
    return isinstance(value, list)


def problems(workflow: Workflow, nodes: Nodes) -> list[str]:
    """What ComfyUI would refuse before it runs anything, as "node.input: why"."""
    found = [] if any(_is_output(nodes[n["class_type"]]) for n in workflow.values()) else ["no outputs"]
    for key, node in workflow.items():
        found += [f"{key}.{problem}" for problem in _problems_of(node, workflow, nodes)]
    return found


def _is_output(node: Any) -> bool:
    return getattr(node, "OUTPUT_NODE", False) is True


def _problems_of(node: dict[str, Any], workflow: Workflow, nodes: Nodes) -> list[str]:
    kind, given = nodes[node["class_type"]], node["inputs"]
    declared = inputs_of(kind)
    found = [f"{name}: there is no such input" for name in given if name not in declared]
    validate = getattr(kind, "VALIDATE_INPUTS", None)
    arguments = inspect.getfullargspec(validate) if validate else None
    own = set(arguments.args) if arguments else set()
    everything = bool(arguments and arguments.varkw)
    for name, (wanted, options, required) in declared.items():
        if name not in given:
            found += [f"{name}: is missing"] if required else []
        elif is_link(given[name]):
            found += _link_problems(name, given[name], wanted, workflow, nodes)
        else:
            found += _value_problems(name, given[name], wanted, options, name in own or everything)
    if validate:
        shown = {k: None if is_link(v) else v for k, v in given.items() if k in own or everything}
        answer = validate(**shown)
        found += [] if answer is True else [f"own check: {answer}"]
    return found


def _link_problems(name: str, link: list[Any], wanted: Any, workflow: Workflow, nodes: Nodes) -> list[str]:
    if len(link) != 2 or link[0] not in workflow:
        return [f"{name}: {link} is no link"]
    types = nodes[workflow[link[0]]["class_type"]].RETURN_TYPES
    if not 0 <= link[1] < len(types):
        return [f"{name}: {link} has no such output"]
    same = isinstance(wanted, str) and set(wanted.split(",")) & set(types[link[1]].split(","))
    return [] if same or wanted == "*" else [f"{name}: {types[link[1]]} is no {wanted}"]


def _value_problems(
    name: str, value: Any, wanted: Any, options: dict[str, Any], checks_itself: bool
) -> list[str]:
    if isinstance(wanted, list):
        return [] if checks_itself or value in wanted else [f"{name}: {value!r} is none of {wanted}"]
    if wanted not in WIDGETS:
        return [f"{name}: {wanted} must be linked"]
    try:
        value = WIDGETS[wanted](value)
    except (TypeError, ValueError):
        return [f"{name}: {value!r} is no {wanted}"]
    if checks_itself or wanted not in ("INT", "FLOAT"):
        return []
    low, high = options.get("min", value), options.get("max", value)
    return [] if low <= value <= high else [f"{name}: {value} is not between {low} and {high}"]


def execute(workflow: Workflow, nodes: Nodes) -> dict[str, list[list[Any]]]:
    """Run a workflow that has no problems: a list of values for every output of every node that an output needs."""
    assert problems(workflow, nodes) == []
    outputs: dict[str, list[list[Any]]] = {}
    for key, node in workflow.items():
        if _is_output(nodes[node["class_type"]]):
            _execute(key, workflow, nodes, outputs)
    return outputs


def _execute(key: str, workflow: Workflow, nodes: Nodes, outputs: dict[str, list[list[Any]]]) -> None:
    if key in outputs:
        return
    given: dict[str, list[Any]] = {}
    for name, value in workflow[key]["inputs"].items():
        if is_link(value):
            _execute(value[0], workflow, nodes, outputs)
            given[name] = outputs[value[0]][value[1]]
        else:
            given[name] = [value]
    kind = nodes[workflow[key]["class_type"]]
    one = kind()
    results = []
    for number in range(max(map(len, given.values()), default=1)):
        answer = getattr(one, kind.FUNCTION)(**{k: v[min(number, len(v) - 1)] for k, v in given.items()})
        if isinstance(answer, dict):
            _check_ui(answer.get("ui", {}))
            answer = answer.get("result", ())
        assert isinstance(answer, tuple) and len(answer) == len(kind.RETURN_TYPES)
        results.append(answer)
    listed = getattr(kind, "OUTPUT_IS_LIST", (False,) * len(kind.RETURN_TYPES))
    outputs[key] = [
        [value for r in results for value in (r[slot] if listed[slot] else [r[slot]])]
        for slot in range(len(kind.RETURN_TYPES))
    ]
    for returned, values in zip(kind.RETURN_TYPES, outputs[key], strict=True):
        for value in values:
            _check_value(returned, value)


def _check_ui(ui: dict[str, Any]) -> None:
    for values in ui.values():
        assert isinstance(values, (list, tuple))
    for image in ui.get("images", []):
        assert set(image) == {"filename", "subfolder", "type"}


def _check_value(kind: str, value: Any) -> None:
    if kind == "IMAGE":
        assert isinstance(value, torch.Tensor) and value.dtype == torch.float32
        assert value.ndim == 4 and value.shape[-1] in (3, 4) and 0 <= value.min() and value.max() <= 1
    elif kind in WIDGETS:
        assert type(value) is WIDGETS[kind]


def from_page(page: dict[str, Any], nodes: Nodes) -> Workflow:
    """The workflow that ComfyUI's page would send, of one that the page has saved."""
    links = {link[0]: link for link in page["links"]}
    workflow: Workflow = {}
    for node in page["nodes"]:
        linked = {i["name"]: links[i["link"]] for i in node["inputs"] if i["link"] is not None}
        for name, (_, source, slot, target, place, kind) in linked.items():
            assert target == node["id"] and node["inputs"][place]["name"] == name
            output = next(n for n in page["nodes"] if n["id"] == source)["outputs"][slot]
            assert output["type"] == kind and node["inputs"][place]["link"] in output["links"]
        values = iter(node["widgets_values"])
        inputs: dict[str, Any] = {}
        for name, (kind, options, _) in inputs_of(nodes[node["type"]]).items():
            if isinstance(kind, list) or kind in WIDGETS:
                inputs[name] = next(values)
                # The page puts widgets of its own behind these.
                if {"control_after_generate", "image_upload", "video_upload"} & {
                    k for k, v in options.items() if v
                }:
                    next(values)
            if name in linked:
                inputs[name] = [str(linked[name][1]), linked[name][2]]
        assert list(values) == []
        workflow[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return workflow


class _Core:
    """A node of ComfyUI itself: what goes in and out, and next to nothing in between."""

    FUNCTION = "run"


class LoadImage(_Core):
    RETURN_TYPES = ("IMAGE", "MASK")
    folder = Path()

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image": (["style.jpg", "ink.png", "oil.jpg"], {"image_upload": True})}}

    def run(self, image: str) -> tuple[Any, Any]:
        pixels = np.asarray(Image.open(self.folder / image).convert("RGB"), dtype=np.float32) / 255
        return torch.from_numpy(pixels)[None], None


class LoadVideo(_Core):
    RETURN_TYPES = ("VIDEO",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"file": (["clip.mp4"], {"video_upload": True})}}

    def run(self, file: str) -> tuple[Any]:
        return (file,)


class GetVideoComponents(_Core):
    RETURN_TYPES = ("IMAGE", "AUDIO", "FLOAT")
    RETURN_NAMES = ("images", "audio", "fps")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"video": ("VIDEO",)}}

    def run(self, video: Any) -> tuple[Any, Any, float]:
        return torch.rand(5, 16, 24, 3, generator=torch.Generator().manual_seed(0)), "sound", 12.5


class CreateVideo(_Core):
    RETURN_TYPES = ("VIDEO",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        fps = ("FLOAT", {"default": 30.0, "min": 1.0, "max": 120.0})
        return {"required": {"images": ("IMAGE",), "fps": fps}, "optional": {"audio": ("AUDIO",)}}

    def run(self, images: Any, fps: float, audio: Any = None) -> tuple[Any]:
        return ((images, fps, audio),)


class SaveVideo(_Core):
    RETURN_TYPES = ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "video": ("VIDEO",),
                "filename_prefix": ("STRING", {"default": "video/ComfyUI"}),
                "format": (["auto", "mp4"], {"default": "auto"}),
                "codec": (["auto", "h264"], {"default": "auto"}),
            }
        }

    def run(self, **given: Any) -> tuple[()]:
        return ()


class PreviewImage(_Core):
    RETURN_TYPES = ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"images": ("IMAGE",)}}

    def run(self, images: Any) -> tuple[()]:
        return ()


class SaveImage(PreviewImage):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        prefix = ("STRING", {"default": "ComfyUI"})
        return {"required": {"images": ("IMAGE",), "filename_prefix": prefix}}

    def run(self, images: Any, filename_prefix: str = "") -> tuple[()]:
        return ()


CORE: Nodes = {
    node.__name__: node
    for node in (LoadImage, LoadVideo, GetVideoComponents, CreateVideo, SaveVideo, PreviewImage, SaveImage)
}
