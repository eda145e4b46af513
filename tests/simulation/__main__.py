"""``python -m tests.simulation KIND SEEDS``: tell stories, of one seed (``7``) or of several (``7-20``)."""

from __future__ import annotations

import sys
import time

import pytest
from tests.simulation.story import KINDS, tell


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
        print(__doc__, f"KIND is one of {', '.join(KINDS)}.", sep="\n", file=sys.stderr)
        return 2
    kind, seeds = sys.argv[1:]
    first, _, last = seeds.partition("-")
    failed = 0
    for seed in range(int(first), int(last or first) + 1):
        began = time.monotonic()
        try:
            tell(kind, seed)
        except pytest.fail.Exception as failure:
            failed += 1
            print(f"{failure}\n")
        else:
            print(f"{kind} {seed} ends well ({time.monotonic() - began:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
