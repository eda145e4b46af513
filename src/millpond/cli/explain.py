"""``millpond explain``: why something is in its state, and what it waits for."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import quote

from millpond.common.config import Settings

from .batch_client import get

#: Exit code where nothing changes until somebody does something.
NEEDS_HELP = 3


def explain(
    settings: Settings, account: str | None, path: Sequence[str], title: str, format: Literal["text", "json"]
) -> None:
    """Print the explanation of what lies at these parts of a path. Raises ``CommandError``."""
    found = get(settings, account, "/" + "/".join([*(quote(part, safe="") for part in path), "explain"]))
    if format == "json":
        found.pop("odata.metadata", None)
        print(json.dumps(found, indent=2))
    else:
        _print(title, found)
    if found["needsHelp"]:
        sys.exit(NEEDS_HELP)


def _print(title: str, found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble((title, "bold"), f" is {found['state']} since {found['since'][:19]}Z."))
    for reason in found["reasons"]:
        style = "bold red" if reason["needsHelp"] else "cyan"
        console.print(Text.assemble("- ", (reason["code"], style), f": {reason['message']}"))
        if "lastStderrLine" in reason:
            console.print(Text(f"  The last line on stderr: {reason['lastStderrLine']}"))
