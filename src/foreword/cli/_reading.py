"""The options of how documents are told apart, for every command that reads a corpus.

Not for: what they mean (``foreword.tokens.Reading``). Costs: nothing until such a command runs.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

__all__ = ["takes_reading", "unescaped"]

_OPTIONS: dict[str, tuple[Any, str | None]] = {
    "documents": (
        Annotated[
            str,
            typer.Option(
                help="What a document is in text files; blank-line: a paragraph.", metavar="<file|line|blank-line>"
            ),
        ],
        "file",
    ),
    "separator": (
        Annotated[
            str | None,
            typer.Option(
                help=r"The text between two documents; \n, \t, \r, \xNN, \uNNNN and \\ in it.", show_default=False
            ),
        ],
        None,
    ),
    "field": (
        Annotated[
            str | None,
            typer.Option(
                help="The field or column that holds a record's text; meta.text is one within another.",
                show_default="text, or as --records says",
            ),
        ],
        None,
    ),
    "encoding": (Annotated[str, typer.Option(help="Of text, jsonl, json, csv and tsv files.")], "utf-8"),
    "records": (
        Annotated[
            str,
            typer.Option(
                help="What a record holds: text, ids of tokens, messages, or a prompt and its completion.",
                metavar="<text|ids|messages|completion>",
            ),
        ],
        "text",
    ),
    "bad_records": (
        Annotated[str, typer.Option(help="What to do with them; skip also counts them.", metavar="<error|skip>")],
        "error",
    ),
    "format_": (
        Annotated[
            str | None,
            typer.Option(
                "--format",
                help="Of all files, whatever their names say.",
                metavar="<text|jsonl|json|parquet|arrow|csv|tsv>",
                show_default=False,
            ),
        ],
        None,
    ),
}
_ESCAPES = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.?))", re.DOTALL)


def takes_reading(command: Callable[..., None], *, documents: str = "file") -> Callable[..., None]:
    """A command with the options above where ``command`` takes ``reading``, a ``Reading``, and ``format``.

    Args:
        command: the function of the command.
        documents: what a document is in text files, unless an option says it.
    """
    options = _OPTIONS | {"documents": (_OPTIONS["documents"][0], documents)}
    plain = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for parameter in plain.parameters.values():
        if parameter.name == "reading":
            parameters += [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
                for name, (annotation, default) in options.items()
            ]
        elif parameter.name != "format":
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def run(**options: Any) -> None:
        from foreword.tokens import Reading

        chosen = {name: options.pop(name) for name in _OPTIONS}
        file_format = chosen.pop("format_")
        chosen["separator"] = unescaped(chosen["separator"])
        command(reading=Reading(**chosen), format=file_format, **options)

    del run.__wrapped__  # whose parameters are others
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def unescaped(text: str | None) -> str | None:
    r"""The text that an option says: a shell gives ``\n`` as two characters.

    >>> unescaped(r"\n\n"), unescaped(r"a\\n"), unescaped(None)
    ('\n\n', 'a\\n', None)
    """
    from foreword.errors import ArgumentError

    def character(found: re.Match[str]) -> str:
        code, plain = found[1] or found[2], {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}
        if not code and found[3] not in plain:
            raise ArgumentError(
                "no such escape in a separator",
                got=repr(found[0]),
                expected=r"\n, \t, \r, \0, \xNN, \uNNNN or \\",
                fix=r"write \\ for a backslash",
            )
        return chr(int(code, 16)) if code else plain[found[3]]

    return None if text is None else _ESCAPES.sub(character, text)
