"""Arguments and results are nested in lists, tuples, dicts and dataclasses; this walks through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def leaves(value: Any, *kinds: type) -> Iterator[Any]:
    """Everything of these kinds inside `value`, in order.

    >>> list(leaves({"a": [1, "x"], "b": (2,)}, int))
    [1, 2]
    """
    if isinstance(value, kinds):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item, *kinds)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item, *kinds)
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            yield from leaves(getattr(value, item.name), *kinds)


def mapped(value: Any, image: Callable[[Any], Any], *kinds: type) -> Any:
    """`value` with `image(leaf)` for everything of these kinds.

    Lists, tuples, dicts and slices are rebuilt; anything else is kept.

    >>> mapped({"a": [1, "x"]}, str, int)
    {'a': ['1', 'x']}
    """
    if isinstance(value, kinds):
        return image(value)
    if isinstance(value, list | tuple):
        items = [mapped(item, image, *kinds) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        return {key: mapped(item, image, *kinds) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(mapped(item, image, *kinds) for item in (value.start, value.stop, value.step)))
    return value
