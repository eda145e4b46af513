"""``python -m tests.compatibility batch|blob [GENERATION …]``: runs the client programs.

For all generations, it writes the page."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.servers import running_server

from . import batch, blob
from .pages import is_right

_SUBJECTS = {"batch": batch, "blob": blob}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility", description=__doc__)
    parser.add_argument("subject", choices=list(_SUBJECTS))
    parser.add_argument("generation", nargs="*", help="releases of the library (default: all)")
    options = parser.parse_args()
    subject = _SUBJECTS[options.subject]
    generations = options.generation or list(subject.GENERATIONS)
    found = {}
    with (
        tempfile.TemporaryDirectory(prefix="compatibility-") as name,
        running_server(Path(name) / "data", *subject.SERVER_OPTIONS) as server,
    ):
        environment = subject.prepare(server, Path(name))
        for generation in generations:
            found[generation] = subject.outcomes(generation, environment)
            for outcome in dict.fromkeys(found[generation].values()):
                if not is_right(outcome):
                    print(f"{generation} {outcome}", flush=True)
    if generations == list(subject.GENERATIONS):
        subject.PAGE.write_text(subject.page(found))
    return 0 if all(is_right(outcome) for part in found.values() for outcome in part.values()) else 1


sys.exit(main())
