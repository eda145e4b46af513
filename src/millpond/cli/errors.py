"""What a command says where it cannot do its work."""

from __future__ import annotations


class CommandError(Exception):
    """A command failed for a reason that its user can act on: one line on stderr, exit code 1."""
