"""Attributes of keys besides counts, as a saved table keeps them: ``attributes.npz`` in its store.

An array for each attribute, or its JSON where the values are objects, so that reading runs no code.

Not for: counts, which the store has. Costs: all attributes at once in memory.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import DAMAGED_ARRAY
from foreword.errors import ArgumentError, StoreError

__all__ = ["ATTRIBUTES", "Attributes", "pack_attributes", "read_attributes"]

ATTRIBUTES = "attributes.npz"
"""The name of the file."""

_JSON = "json:"  # goes before the name of an attribute kept as JSON

Attributes = Mapping[str, NDArray[Any]]


def pack_attributes(attributes: Attributes) -> bytes | None:
    """The bytes of ``attributes.npz``, or None where counts, which the store has, are all there is."""
    arrays = {}
    for name, values in attributes.items():
        if values.dtype.kind in "biufc" and not (name == "count" and values.dtype == np.int64):
            arrays[name] = values
        elif values.dtype.kind not in "biufc":
            try:
                arrays[_JSON + name] = np.frombuffer(json.dumps(values.tolist()).encode(), dtype=np.uint8)
            except (TypeError, ValueError) as cause:
                raise ArgumentError(
                    f"can't save the attribute {name!r}", got=str(cause), expected="numbers or text"
                ) from None
    if not arrays:
        return None
    data = io.BytesIO()
    np.savez(data, allow_pickle=False, **arrays)
    return data.getvalue()


def read_attributes(path: Path) -> dict[str, NDArray[Any]]:
    """What ``save_store`` kept of attributes in the file ``path``, counts apart.

    Raises:
        StoreError: the file is damaged.
    """
    found: dict[str, NDArray[Any]] = {}
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            for name, values in arrays.items():
                if name.startswith(_JSON):
                    items = json.loads(values.tobytes())
                    values = np.empty(len(items), dtype=object)  # noqa: PLW2901
                    values[:] = items
                values.setflags(write=False)  # so that who changes them makes a copy, which is then known as changed
                found[name.removeprefix(_JSON)] = values
    except (OSError, zipfile.BadZipFile, *DAMAGED_ARRAY) as cause:
        raise StoreError(
            "the store's attributes can't be read", got=str(cause), where=path, fix="save it again"
        ) from None
    return found
