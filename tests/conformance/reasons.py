"""Why tests fail here that no account of this kind, or nothing on this machine, could pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from .comparison import Comparison, plain_name


class Reason(NamedTuple):
    """What several tests fail of."""

    #: For the page.
    text: str
    #: Which tests, as ``file::test`` with wildcards.
    tests: tuple[str, ...]


_REASONS = (
    Reason(
        "Query Blob Contents is left out on purpose: the answer is 501 `NotImplemented`.",
        ("test_quick_query*::*",),
    ),
    Reason(
        "They copy from a share of the Files service. An account here has blobs alone.",
        ("test_*::test_*_from_file_to_blob_with_oauth",),
    ),
    Reason(
        "They look for what replication between accounts has left, or for a secondary location that is not there.",
        (
            "test_ors*::*",
            "test_container*::test_list_blobs_with_object_replication_policy",
            "test_blob_service_stats*::test_blob_service_stats_when_unavailable",
        ),
    ),
    Reason(
        "They set tiers of page blobs, which premium accounts have.",
        ("test_page_blob*::test_blob_tier_set_tier_api", "test_page_blob*::test_blob_tier_copy_blob"),
    ),
    Reason(
        "It sends a version that is not published yet. Versions to come are taken, so that newer clients work.",
        ("test_blob_api_version*::test_invalid_service_version_message",),
    ),
    Reason(
        "Its authors skip the synchronous twin: Azure has not enabled Rename Container.",
        ("test_container_async::test_rename_container",),
    ),
    Reason(
        "They read somebody else's page in the Internet, which is not there where this ran.",
        ("test_common_blob_async::test_create_blob_with_requests", "test_common_blob*::test_abort_copy_blob"),
    ),
)


class Explained(NamedTuple):
    """The tests that neither service passes, as ``file::test``."""

    by_reason: Mapping[str, list[str]]
    #: Those that no reason is for, each with how it failed.
    unexplained: Mapping[str, str]
    #: What reasons are for tests that were run, of which none fails.
    idle: list[str]


def explain(comparisons: Iterable[Comparison], reasons: Iterable[Reason] = _REASONS) -> Explained:
    comparisons = list(comparisons)
    failed = {plain_name(each.file, test): how for each in comparisons for test, how in each.neither.items()}
    run = {plain_name(each.file, test) for each in comparisons for test in each.run}
    by_reason, idle = {}, []
    for text, patterns in reasons:
        by_reason[text] = [test for test in failed if any(fnmatchcase(test, pattern) for pattern in patterns)]
        for pattern in patterns:
            matching = {test for test in run if fnmatchcase(test, pattern)}
            if matching and not matching & failed.keys():
                idle.append(pattern)
    explained = {test for tests in by_reason.values() for test in tests}
    unexplained = {test: how for test, how in failed.items() if test not in explained}
    return Explained({text: tests for text, tests in by_reason.items() if tests}, unexplained, idle)


def remarks(explained: Explained) -> str:
    """What the table of reasons lacks, and what it has too much; nothing where it is complete."""
    parts = []
    if explained.unexplained:
        parts.append("Fails on both sides, and nobody knows why:\n")
        parts += [f"  {test}\n      {how}\n" for test, how in explained.unexplained.items()]
    if explained.idle:
        parts.append("No test fails any more that this reason is for:\n")
        parts += [f"  {pattern}\n" for pattern in explained.idle]
    return "".join(parts)


def section(explained: Explained) -> str:
    """The table of reasons for the page, the most frequent first. A file stands for its asynchronous twin, too."""
    reasons = sorted(explained.by_reason.items(), key=lambda reason: -len(reason[1]))
    if explained.unexplained:
        reasons.append(("Not known.", list(explained.unexplained)))
    rows = [f"| {text} | {len(tests)} | {_listed(tests)} |\n" for text, tests in reasons]
    return "".join(["| why | tests | which |\n|---|--:|---|\n", *rows])


def _listed(tests: list[str]) -> str:
    names: dict[str, set[str]] = {}
    for test in tests:
        file, _, name = test.partition("::")
        names.setdefault(file.removesuffix("_async"), set()).add(name)
    return "; ".join(f"`{file}`: {_some(sorted(found))}" for file, found in sorted(names.items()))


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(f"`{name}`" for name in names) if len(names) <= most else f"{len(names)} tests"
