from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.runtime.devices import (
    available_devices,
    check_device_name,
    check_dtype_name,
    dtype_name,
    resolve_device,
    resolve_dtype,
)


def test_every_machine_has_a_cpu() -> None:
    assert available_devices()[-1] == "cpu"
    assert resolve_device("cpu") == torch.device("cpu")
    assert str(resolve_device("auto")) == available_devices()[0]


def test_absent_device_names_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"'cuda:99' is not available here\. Available: .*cpu") as caught:
        resolve_device("cuda:99")
    assert isinstance(caught.value, InvalidInputError)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "CPU", "cuda:x"])
def test_unknown_device(name: str) -> None:
    with pytest.raises(UnknownNameError, match="Known: auto, cpu"):
        check_device_name(name)


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("auto", "cpu", torch.float32),
        ("auto", "cuda", torch.float16),
        ("auto", "mps", torch.float32),
        ("fp32", "cuda", torch.float32),
        ("half", "cuda", torch.float16),
        ("fp16", "mps", torch.float16),
        ("bf16", "cpu", torch.bfloat16),
    ],
)
def test_dtype(name: str, device: str, expected: torch.dtype) -> None:
    assert resolve_dtype(name, torch.device(device)) == expected
    assert resolve_dtype(dtype_name(expected), torch.device("cuda")) == expected


def test_wrong_dtypes() -> None:
    with pytest.raises(InvalidInputError, match="float32"):
        resolve_dtype("fp16", torch.device("cpu"))
    with pytest.raises(UnknownNameError, match="bfloat16"):
        check_dtype_name("float8")
