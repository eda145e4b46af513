"""``python -m tests.conformance``: run the tests, and say what each service passes."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from .comparison import Comparison, compare, listing, markdown
from .reasons import explain, remarks, section
from .results import Results
from .running import Job, run
from .services import SERVICES, azurite_version, install_azurite
from .sources import ROOT, library_version, python, test_files, tests_directory

_PAGE = """\
# Conformance of the Blob service

The tests in the source distribution of `azure-storage-blob` {library}, run live and unmodified against Millpond and
against Azurite {azurite}. `make conformance-blob` writes this page. One file, one service, some tests:

```
.venv/bin/python -m tests.conformance container --service millpond -k lease
```

Each file runs against a new service. Counted are the tests that connect to it; the other {left_out} (of parsers,
streams and URLs, of Azure's own hosts, or skipped by their authors) are not. The test support that the tests import is
not published: `tests/conformance/shim` stands in for it. Clients wait a second at most before they try again. Azurite
runs over https with `--oauth basic`, without which it takes no tokens, and with `--skipApiVersionCheck`. Where a
service takes no tokens, tests that ask for one get the account's key.

{table}
## Passed by Azurite alone

{only_azurite}
## What fails on both sides, and why

Files are named without their asynchronous twins. `tests/conformance/reasons.py` keeps the reasons; a run says which
tests have none, and which reasons have no failing test any more.

{neither}"""


def main() -> int:
    options = _options()
    files = _files(options)
    results = Results(options.results)
    # Made before anything runs side by side.
    python(), tests_directory()
    if "azurite" in (options.service or SERVICES):
        install_azurite()
    jobs = [
        Job(file, service, options.keyword, options.timeout)
        for file in files
        for service in options.service or SERVICES
        if not (options.resume and results.load(service, file))
    ]
    with ThreadPoolExecutor(options.processes) as pool:
        for done in as_completed(pool.submit(_run, job, results) for job in jobs):
            print(done.result(), flush=True)
    comparisons = [compare(results, file) for file in files]
    print(f"\n{markdown(comparisons)}\nPassed by Azurite alone:\n{listing(comparisons) or 'none'}")
    explained = explain(comparisons)
    print(remarks(explained), end="")
    everything = [compare(results, file) for file in test_files()]
    (options.results / "only-azurite.txt").write_text(listing(everything))
    if options.page:
        options.page.write_text(_page(everything))
    return 1 if explained.unexplained or any(each.only_azurite for each in comparisons) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("file", nargs="*", help="files of tests, as test_container or container (default: all)")
    parser.add_argument("--service", action="append", choices=list(SERVICES), help="only this one (may be repeated)")
    parser.add_argument("-k", dest="keyword", default="", help="only tests that match, as pytest's -k")
    parser.add_argument("--timeout", type=float, default=40.0, metavar="S", help="seconds for one test (default: 40)")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="files side by side (default: 2)")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="only the I-th of N parts of the files")
    parser.add_argument("--resume", action="store_true", help="keep the results that there are")
    parser.add_argument("--page", type=Path, help="write the table to this page")
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "build" / "conformance",
        help="where results are kept, logs included (default: build/conformance)",
    )
    return parser.parse_args()


def _files(options: argparse.Namespace) -> list[str]:
    known = test_files()
    chosen = [_find(name, known) for name in options.file] or known
    part, parts = map(int, options.shard.split("/"))
    return chosen[part - 1 :: parts]


def _find(name: str, known: list[str]) -> str:
    stem = name.removesuffix(".py")
    for candidate in (stem, f"test_{stem}"):
        if candidate in known:
            return candidate
    sys.exit(f"there is no file {name} among the tests: {', '.join(known)}")


def _run(job: Job, results: Results) -> str:
    """Run it and keep what it finds; a line that says so, or why the service did not start or stop as it should."""
    began = time.monotonic()
    try:
        outcomes = run(job, results.log(job.service, job.file))
    except (AssertionError, RuntimeError) as failure:
        return f"{job.service:9} {job.file:40} {failure}"
    if job.keyword:
        outcomes = {**results.load(job.service, job.file), **outcomes}
    results.save(job.service, job.file, outcomes)
    passed = sum(each.outcome == "passed" for each in outcomes.values())
    took_s = time.monotonic() - began
    return f"{job.service:9} {job.file:40} {passed:4} of {len(outcomes):4} passed, {took_s:5.0f} s"


def _page(comparisons: list[Comparison]) -> str:
    only_azurite = [
        f"- `{each.file}`: " + ", ".join(f"`{test.rpartition('::')[2]}`" for test in each.only_azurite) + "\n"
        for each in comparisons
        if each.only_azurite
    ]
    return _PAGE.format(
        library=library_version(),
        azurite=azurite_version(),
        left_out=sum(each.left_out for each in comparisons),
        table=markdown(comparisons),
        only_azurite="".join(only_azurite) or "None.\n",
        neither=section(explain(comparisons)),
    )


if __name__ == "__main__":
    sys.exit(main())
