"""``python -m tests.compatibility [GENERATION …]``: runs the client programs; for all generations, writes the page."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.servers import running_server

from .matrix import GENERATIONS, outcomes, page, prepare

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "compatibility.md"


def main() -> int:
    generations = sys.argv[1:] or list(GENERATIONS)
    with tempfile.TemporaryDirectory(prefix="compatibility-") as name, running_server(Path(name) / "data") as server:
        environment = prepare(server, Path(name))
        found = {}
        for generation in generations:
            found[generation] = outcomes(generation, environment)
            for outcome in dict.fromkeys(found[generation].values()):
                if not outcome.startswith(("ok", "refused")):
                    print(f"{generation} {outcome}", flush=True)
    if generations == list(GENERATIONS):
        PAGE.write_text(page(found))
    return 0 if all(each.startswith(("ok", "refused")) for part in found.values() for each in part.values()) else 1


sys.exit(main())
