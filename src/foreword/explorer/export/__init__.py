"""The page as static files, which compute in the browser what the server answers.

Read in this order: ``data`` (ranks and vectors → scripts), ``page`` (all of it → a folder). The other half is in
``static/offline/``.

Not for: stores, which are files of a machine. Costs: some seconds, and half a minute the first time, for the
map of words; 2 MB.
"""

from foreword.explorer.export.page import Exported, export

__all__ = ["Exported", "export"]
