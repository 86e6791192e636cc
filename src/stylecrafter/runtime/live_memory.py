"""Bytes that a computation holds at its most, counted while it runs on tensors without memory."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx.experimental import _config
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Numbers along the first four axes up to which torch has its own convolution instead of that of a library.
_SMALL = 20_480


class LiveMemory(TorchDispatchMode):
    """Counts what is made while it is entered, from when it is made to when nothing refers to it any more.

    Made for the "meta" device: what runs there allocates nothing, however large. What was there before does not count.

    Attributes:
        now: Bytes held at this moment.
        peak: Most bytes held at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()
        self._beside = ExitStack()

    def __enter__(self) -> LiveMemory:
        self._beside.enter_context(_WholeAttention())
        # What a mask picks, where there are no numbers: all.
        self._beside.enter_context(cast(Any, _config).patch(meta_nonzero_assume_all_nonzero=True))
        return cast("LiveMemory", super().__enter__())

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._beside.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            # Of numbers that are not there: no mask is full, nothing is beyond a limit.
            return args[0].dtype is not torch.bool and 0
        before = {id(leaf) for leaf in tree_leaves(args) if isinstance(leaf, Tensor)}
        out = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and id(leaf) not in before]
        if not func.is_view:
            for tensor in made:
                self._see(tensor.untyped_storage())
        self.peak = max(self.peak, self.now + _scratch(func, args, made))
        return out

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += storage.nbytes()
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


class _WholeAttention(TorchFunctionMode):
    """Attention as one step: its kernels hold no table of every query with every key, its formula does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            return _attended(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attended(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    return query.new_empty(*query.shape[:-1], value.shape[-1])


def _scratch(func: Any, args: Any, made: list[Tensor]) -> int:
    """Bytes that a step needs for itself: convolutions on CPUs work on copies of their own order."""
    if func is not torch.ops.aten.convolution.default:
        return 0
    image, weight = args[0], args[1]
    if _is_unfolded(image, weight):
        # One column of all that the kernel covers, for every place of the result.
        return image.shape[1] * weight[0, 0].numel() * made[0][0, 0].numel() * image.element_size()
    return (image.numel() + weight.numel()) * image.element_size()


def _is_unfolded(image: Tensor, weight: Tensor) -> bool:
    """Whether torch multiplies matrices for this convolution, as it does for small single ones in float32."""
    if image.dtype != torch.float32 or len(image) > 1 or weight[0, 0].numel() == 1:
        return False
    flat = weight.shape[-2:] == (1, 1) and torch.get_num_threads() == 1
    return flat or (image.shape[:4].numel() <= _SMALL and max(weight.shape[-2:]) <= 3)
