"""How outcomes are told: what they come to, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LEGEND = """\
● works · ○ refused, as the service refuses it (see below) · ✗ does not work · blank: the release has no such method
"""

_MARKS = {"ok": "●", "refused": "○"}


def is_right(outcome: str) -> bool:
    """Whether a method has its effect, or is refused as it should be."""
    return _kind(outcome) in _MARKS


def mark(outcome: str) -> str:
    return _MARKS.get(_kind(outcome), "✗")


def refusal(outcome: str) -> str:
    """Why a method is refused; nothing where it is not."""
    return outcome.removeprefix("refused: ") if _kind(outcome) == "refused" else ""


def _kind(outcome: str) -> str:
    return outcome.partition(": ")[0]


def table(what: str, columns: Iterable[str], rows: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Lines of Markdown, from marks by row and column."""
    columns = list(columns)
    return [
        f"| {what} | {' | '.join(columns)} |",
        f"|---|{':-:|' * len(columns)}",
        *(f"| {name} | {' | '.join(marks.get(column, '') for column in columns)} |" for name, marks in rows.items()),
    ]


def refused(reasons: Mapping[str, str]) -> list[str]:
    """Lines that say why, by what is refused."""
    return ["", "Refused:", "", *(f"- {name}: {reason}." for name, reason in reasons.items())]
