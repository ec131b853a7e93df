"""JavaScript modules → one plain script.

One request brings it, where modules take twenty, some found only when others have come; and a page that is opened from
a folder may load scripts, but no modules.

Each module becomes a function, called in an order in which what it imports comes before it. Only what the page's own
modules use is understood: named imports and exports at the start of a line, ``import * as``; anything else is refused.

Not for: other people's modules, or making them smaller. Costs: milliseconds.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping

from foreword.errors import FormatError

__all__ = ["bundle"]

_IMPORT = re.compile(
    r'^(import|export) (?:(?:\* as (\w+)|\{([^}]*)\}) from )?"(\.{1,2}/[^"]+)";\n', re.MULTILINE
)  # or what goes on to whoever imports this module
_EXPORT = re.compile(
    r"^export ((?:(?:async )?function\*? |class |const )([\w$]+)|const \[([\w$, ]+)\](?= =))", re.MULTILINE
)
_OTHER = re.compile(
    r'^(?:export\b|import (?:[\w$]+[ ,]|["\'{*]).*["\']).*|\bimport\(.*|\bimport\.meta\b.*', re.MULTILINE
)


def bundle(entry: str, read: Callable[[str], str], instead: Mapping[str, str]) -> str:
    """A script that runs a module and all that it imports.

    Args:
        entry: the module's name.
        read: gives a module's text by its name, a path with ``/``.
        instead: modules that stand in the place of others, by name.

    Raises:
        FormatError: a module imports or exports in another way, or modules import one another in a circle.

    >>> modules = {"a.js": 'import { b } from "./b.js";\\nalert(b);\\n', "b.js": "export const b = 1;\\n"}
    >>> print(bundle("a.js", modules.__getitem__, {}))
    (async () => {
    "use strict";
    const modules = {};
    modules["b.js"] = await (async () => {
    const b = 1;
    return { b };
    })();
    modules["a.js"] = await (async () => {
    const { b } = modules["b.js"];
    alert(b);
    return {};
    })();
    })();
    <BLANKLINE>
    """
    written: dict[str, str] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise FormatError("modules import one another in a circle", got=" → ".join((*above, name)))
        if name in written:
            return
        text = read(name)
        heads, exported = [], []
        for found in _IMPORT.finditer(text):
            verb, whole, names, path = found.groups()
            other = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
            other = instead.get(other, other)
            add(other, (*above, name))
            if whole:
                heads.append(f'const {whole} = modules["{other}"];\n')
            elif names:
                heads.append(f'const {{ {_renamed(names)} }} = modules["{other}"];\n')
            if verb == "export":
                exported += re.findall(r"([\w$]+)\s*(?:,|$)", whole or names)
        for _, one, several in _EXPORT.findall(text):
            exported += [one] if one else several.split(", ")
        body = _EXPORT.sub(r"\1", _IMPORT.sub("", text))
        if other_form := _OTHER.search(body):
            raise FormatError(
                "a module imports or exports in a way that the bundle doesn't know",
                got=other_form[0][:80],
                expected='import { a, b as c } from "./x.js"; or export function, class, const, at the start of a line',
                where=name,
            )
        returned = f"return {{ {', '.join(exported)} }};" if exported else "return {};"
        written[name] = (
            f'modules["{name}"] = await (async () => {{\n{"".join(heads)}{body.strip()}\n{returned}\n}})();\n'
        )

    add(entry, ())
    return '(async () => {\n"use strict";\nconst modules = {};\n' + "".join(written.values()) + "})();\n"


def _renamed(names: str) -> str:
    """``a, b as c`` as a destructuring has it: ``a, b: c``."""
    return ", ".join(re.sub(r"\s+as\s+", ": ", name.strip()) for name in names.split(",") if name.strip())
