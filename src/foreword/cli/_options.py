"""Which options stand on the command line: for those that mean nothing without another, or beside it.

Not for: what they mean. Costs: nothing.
"""

from __future__ import annotations

import typer

__all__ = ["given"]


def given(context: typer.Context, *names: str) -> list[str]:
    """Those of the parameters that stand on the command line, spelt as options.

    Args:
        context: the command's.
        names: names of parameters of its function.
    """
    spelt = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    sources = {name: context.get_parameter_source(name) for name in names}
    return [spelt[name] for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
