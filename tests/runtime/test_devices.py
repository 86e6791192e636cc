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


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_every_process_of_a_launcher_has_a_gpu_of_its_own(
    name: str, two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert resolve_device(name) == torch.device("cuda:0")
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert resolve_device(name) == torch.device(f"cuda:{rank}")
        assert resolve_device("cuda:0") == torch.device("cuda:0")
        assert resolve_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(
        InvalidInputError, match=r"process 2 .* no GPU of its own\. Available: cuda:0, cuda:1"
    ):
        resolve_device(name)


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
