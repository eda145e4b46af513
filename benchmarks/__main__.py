"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from .environments import ROOT
from .machine import machine_facts
from .measuring import OURS, Result, measure
from .rows import ROWS

_RESULTS = ROOT / "benchmarks" / "results"


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is stopped
    if arguments.list:
        for row in ROWS.values():
            print(f"{row.name:<12}{'(long) ' if row.is_long else ''}{row.summary}")
        return 0
    names = arguments.rows or [row.name for row in ROWS.values() if not row.is_long]
    directory = Path(tempfile.gettempdir())
    facts = machine_facts(directory)
    console = Console()
    console.width = max(console.width, 120)  # in a file, too
    console.print(", ".join(f"{name}: {value}" for name, value in facts.items()), highlight=False)
    results = []
    with console.status("") as status:
        for name in names:
            row = ROWS[name] if arguments.turns is None else ROWS[name]._replace(turns=arguments.turns)
            results.append(measure(row, status.update))
            _store(facts, results[-1])
    _print(console, results)
    return 1 if any(OURS in result.absent for result in results) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Millpond beside its peers.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="what to measure (default: all that are not long)")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--turns", type=int, help="how often each contender has its turn")
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))} (see --list)")
    return arguments


def _print(console: Console, results: list[Result]) -> None:
    table = Table("row", "figure", OURS, "peers", "goal", "", title="medians")
    for result in results:
        for figure in result.runs:
            medians = result.medians(figure)
            ours = f"{medians.pop(OURS):,.4g}" if OURS in medians else "-"
            peers = "\n".join(f"{name} {value:,.4g}" for name, value in medians.items())
            goals = [goal for goal in result.row.goals if goal.figure == figure]
            verdicts = [goal.is_met(result.medians(figure)) for goal in goals]
            marks = "\n".join({True: "[green]met", False: "[red]missed", None: "?"}[verdict] for verdict in verdicts)
            table.add_row(result.row.name, figure, ours, peers, "\n".join(map(str, goals)), marks)
        for contender, reason in result.absent.items():
            table.add_row(result.row.name, f"[red]{contender} did not take part:[/] {reason}", "", "", "", "")
    console.print(table)


def _store(facts: dict[str, str | int | float], result: Result) -> None:
    """Append one line of JSON to the day's file."""
    _RESULTS.mkdir(exist_ok=True)
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": facts,
        "row": result.row.name,
        "load_after": round(os.getloadavg()[0], 2),
        "runs": result.runs,
        "absent": result.absent,
    }
    with (_RESULTS / f"{time.strftime('%Y-%m-%d', time.gmtime())}.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
