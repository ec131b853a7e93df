"""Folders that datasets' ``save_to_disk`` wrote: which Arrow files hold the rows, in their order.

Not for: reading them (``tables``), or the library's cache. Costs: two small files.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from foreword._base.files import read_regular
from foreword.errors import ArgumentError, FormatError

__all__ = ["saved_files"]


def saved_files(folder: Path) -> list[str] | None:
    """The names of the Arrow files of a dataset saved in ``folder``; None where it is none.

    Raises:
        ArgumentError: several datasets are saved there, or rows of one that were chosen or put in another order.
        FormatError: what says it can't be read.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = _read(folder / "dataset_dict.json").get("splits")
        if isinstance(splits, list) and splits:
            raise ArgumentError(
                "a folder of several datasets",
                got=", ".join(map(str, splits)),
                expected="one of them",
                where=folder,
                fix=f"name it: {folder / str(splits[0])}",
            )
    if not ((folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()):
        return None
    state = _read(folder / "state.json")
    if "_data_files" not in state:
        return None
    files = state["_data_files"]
    names = [file.get("filename") if isinstance(file, dict) else None for file in files] if files else []
    if not all(isinstance(name, str) and re.fullmatch(r"[^/\\:\0]+\.arrow", name) for name in names):
        raise FormatError("the list of a saved dataset's files can't be read", where=folder / "state.json")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise ArgumentError(
            "a saved dataset that names some rows of its files, in an order of its own",
            where=folder,
            fix="save it with its rows as they are: dataset.flatten_indices().save_to_disk(folder)",
        )
    return [str(name) for name in names]


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_regular(path, "read the saved dataset"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise FormatError("what a saved dataset says of itself can't be read", expected="a JSON object", where=path)
    return value
