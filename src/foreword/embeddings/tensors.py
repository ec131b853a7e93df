"""Named tensors wherever they are: safetensors files, torch's own files, memory; and the config.json beside them.

Not for: knowing which of them is what (``checkpoint``). Costs: of safetensors and of zipped .pt files, the tensors that
are read; of others all of the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foreword._base.files import explained, given_path, read_text
from foreword._base.json_objects import without_repeats
from foreword.errors import ArgumentError, ArgumentTypeError, FormatError, MissingFileError

__all__ = ["Tensors", "open_tensors", "snapshot"]

_FILE, _INDEX, _CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
_TORCH = (".pt", ".pth", ".bin", ".ckpt")


class Tensors:
    """Tensors by name, read when asked for.

    Attributes:
        where: the path, or what stands for one.
        names: of all tensors.
        config: what config.json says; {} without one.
    """

    def __init__(
        self,
        where: str,
        config: Mapping[str, Any],
        *,
        files: Mapping[str, Path] | None = None,
        memory: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.where, self.config = where, dict(config)
        self._files, self._memory = files or {}, memory or {}
        self.names = list(self._files or self._memory)

    def place(self, name: str) -> str:
        """Where a tensor lies, for errors."""
        return str(self._files.get(name, self.where))

    def read(self, name: str) -> Tensor:
        """A tensor, on the CPU or, of a state_dict, where it is.

        Raises:
            FormatError: it holds no real numbers, or NaN or infinity.
        """
        if name in self._memory:
            tensor = self._memory[name].detach()
        else:
            with _opened(self._files[name]) as file:
                tensor = file.get_tensor(name)
        if not tensor.dtype.is_floating_point:
            raise FormatError(
                f"the tensor {name!r} doesn't hold real numbers", got=str(tensor.dtype), where=self.place(name)
            )
        if tensor.is_meta:
            raise FormatError(f"the tensor {name!r} is on the meta device: it holds nothing", where=self.place(name))
        finite = torch.isfinite(tensor)
        if not finite.all():
            place = (~finite).nonzero()[0].tolist()
            raise FormatError(
                f"the tensor {name!r} holds NaN or infinity",
                got=f"{int((~finite).sum()):,} such elements, the first at {place}",
                where=self.place(name),
                fix="get the file again, or take an earlier checkpoint",
            )
        return tensor


def open_tensors(
    path: str | os.PathLike[str] | Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> Tensors:
    """The tensors of a folder, a file or a state_dict.

    Args:
        path: a folder as Hugging Face lays it out, or of its cache; a .safetensors, .pt, .pth, .bin or .ckpt file; or
            tensors by name.
        config: what config.json says, if it is known otherwise.

    Raises:
        MissingFileError, FileError: a file is not there or can't be read.
        ArgumentError: a URL.
        FormatError: it holds something else, or is cut short.
    """
    if isinstance(path, Mapping):
        return Tensors("the state_dict", config or {}, memory=_only_tensors(path, "the state_dict"))
    if isinstance(path, torch.nn.Module):
        raise ArgumentTypeError("pass the state_dict of a module", got=type(path).__name__, fix="module.state_dict()")
    place = given_path(path)
    if "://" in os.fspath(path):
        raise ArgumentError(
            "a checkpoint is read from a path on this machine",
            got=os.fspath(path),
            fix="download it, and name its folder",
        )
    with explained("read the tensors", place):
        path = snapshot(place)
        beside = (path.parent if path.is_file() else path) / _CONFIG
        if config is None:
            config = _json(beside) if beside.exists() else {}
    if path.is_file():
        if path.suffix in _TORCH:
            return Tensors(str(path), config, memory=_torch_file(path))
        return Tensors(str(path), config, files=dict.fromkeys(_tensor_names(path), path))
    if (path / _INDEX).exists():
        weight_map = _json(path / _INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
            raise FormatError("no weight_map in the index of shards", where=str(path / _INDEX))
        outside = [file for file in weight_map.values() if Path(file).name != file]
        if outside:
            raise FormatError("a shard lies outside the folder", got=outside[0], where=str(path / _INDEX))
        return Tensors(str(path), config, files={name: path / file for name, file in weight_map.items()})
    if (path / _FILE).exists():
        return Tensors(str(path), config, files=dict.fromkeys(_tensor_names(path / _FILE), path / _FILE))
    raise MissingFileError(
        "no safetensors to read",
        expected=f"{_FILE} or {_INDEX} in the folder, or a file of tensors",
        where=str(path),
        fix="check the path; a pickled checkpoint (.bin, .pt) must be converted, or named itself",
    )


def snapshot(path: Path) -> Path:
    """The newest snapshot, if ``path`` is a model's folder in Hugging Face's cache."""
    main = path / "refs" / "main"
    return path / "snapshots" / read_text(main).strip() if main.is_file() else path


def _json(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        value = json.loads(text, object_pairs_hook=without_repeats)
    except (ValueError, RecursionError) as cause:
        raise FormatError("not JSON", got=str(cause), where=str(path)) from cause
    if not isinstance(value, dict):
        raise FormatError("not a JSON object", got=type(value).__name__, where=str(path))
    return value


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The safetensors file, with its errors in our words."""
    import safetensors

    with explained("read the tensors", path):
        open(path, "rb").close()  # an OSError of safetensors has no errno
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                yield file
        except safetensors.SafetensorError as cause:
            raise FormatError("not a whole safetensors file", got=str(cause), where=str(path)) from cause


def _tensor_names(path: Path) -> list[str]:
    with _opened(path) as file:
        return list(file.keys())


def _torch_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that torch.save wrote; nothing in it is run."""
    with explained("read the tensors", path):
        open(path, "rb").close()
        try:
            value = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except OSError:
            raise
        except Exception as cause:  # a pickle that is cut, or that would run code, fails in any way
            raise FormatError(
                "not a file of tensors alone",
                got=f"{type(cause).__name__}: {cause}".splitlines()[0][:200],
                where=str(path),
            ) from cause
    for wrapper in ("state_dict", "model_state_dict", "model"):  # what training loops save beside them
        if isinstance(value, Mapping) and isinstance(value.get(wrapper), Mapping):
            value = value[wrapper]
    return _only_tensors(value, str(path))


def _only_tensors(value: Any, where: str) -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        raise FormatError("not tensors by name", got=type(value).__name__, where=where)
    return {name: tensor for name, tensor in value.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
