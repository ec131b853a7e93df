"""Old paths of public names: importing one still works, and says where the name is now.

Not for: anything new. Costs: nothing until such a path is imported.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

__all__ = ["MOVED", "install"]

# Module that was → where its public names are now. A name that changed stands behind it.
MOVED: dict[str, tuple[str, dict[str, str]]] = {
    "foreword.embed": ("foreword.recipes", {}),
    "foreword.pipeline": ("foreword.recipes", {}),
    "foreword.tokens.documents": ("foreword.tokens", {}),
    "foreword.tokens.formats": ("foreword.tokens", {}),
    "foreword.tokens.inspection": ("foreword.tokens", {}),
    "foreword.tokens.tokenizer": ("foreword.tokens", {}),
    "foreword.tokens.train": ("foreword.tokens", {}),
    "foreword.vectors.word_map": ("foreword.vectors", {"draw": "draw_word_map"}),
}


class _OldModule(ModuleType):
    """A module that looks its names up in their new place. Called, it is the function of its name."""

    def __getattr__(self, name: str) -> Any:
        home, renamed = MOVED[self.__name__]
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        package, new = importlib.import_module(home), renamed.get(name, name)
        found = getattr(package, new)
        return package.__getattr__(new) if found is self else found  # importing this module has hidden the function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Finder:
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _OldModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        home = MOVED[module.__name__][0]
        warnings.warn(f"{module.__name__} has moved: import from {home}", DeprecationWarning, stacklevel=2)


def install() -> None:
    """Have the old paths found, after all others."""
    sys.meta_path.append(_Finder())
