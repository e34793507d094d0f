"""How many multiply-adds an operation costs, as `torch.utils.flop_counter` counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from fcnviz.calls import BROADCAST, READERS, SAME_SHAPE
from fcnviz.operations import Facts, words
from fcnviz.records import Output, Shape

# No matrix product inside, whatever the shapes: nothing to count.
_FREE_CALLS = (
    BROADCAST
    | SAME_SHAPE
    | words(
        """
        squeeze unsqueeze split chunk unbind expand expand_as view_as reshape_as repeat repeat_interleave gather
        index_select masked_select select embedding one_hot topk sort argmax argmin max min any all norm var std
        var_mean zeros ones empty full arange linspace eye rand randn tensor as_tensor meshgrid tril triu
        size dim ndimension stride storage_offset is_contiguous is_floating_point is_complex element_size data_ptr
        untyped_storage item tolist numpy get_device has_names len hash iter setitem
        affine_grid grid_sample upsample glu T mT H mH real imag numel new_zeros new_ones new_full new_empty
        """
    )
)


def macs(facts: Facts, given: Sequence[Shape], output: Output) -> int:
    """Multiply-adds of a known operation: every output of a convolution is one sum over a window.

    A transposed convolution spreads every *input* over a window instead, so its inputs are counted.

    >>> from torch import nn
    >>> from fcnviz.operations import module_facts
    >>> macs(module_facts(nn.Conv2d(3, 64, 3, padding=1)), [Shape((1, 3, 224, 224))], Shape((1, 64, 224, 224)))
    86704128
    """
    if not isinstance(output, Shape):
        return 0
    if facts.operation == "linear":
        return prod(output) * facts.settings["in_features"]
    if facts.operation not in ("conv", "conv_transpose") or facts.window is None:
        return 0
    transposed = facts.operation == "conv_transpose"
    channels = facts.settings["out_channels" if transposed else "in_channels"] // facts.window.groups
    return prod(given[0] if transposed else output) * channels * prod(facts.window.kernel)


def needs_counting(func: Callable[..., Any], kind: str) -> bool:
    """True when no table says how many multiply-adds a call costs: matmul, einsum, attention."""
    plain = kind.removesuffix("_")
    return plain not in _FREE_CALLS and plain not in READERS and getattr(func, "__name__", "") != "__get__"


class FlopCount(TorchDispatchMode):
    """Adds up the multiply-adds of what runs inside, by the table of `torch.utils.flop_counter`."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # a question about a tensor, not an operation on it
            return NotImplemented
        if func._overloadpacket not in flop_registry:
            inner = func.decompose(*args, **kwargs) if func._can_decompose() else NotImplemented
            return func(*args, **kwargs) if inner is NotImplemented else inner
        out = func(*args, **kwargs)
        self.macs += flop_registry[func._overloadpacket](*args, **kwargs, out_val=out) // 2
        return out
