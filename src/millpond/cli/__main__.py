"""``python -m millpond.cli``: the command ``millpond`` for where it is not on the path."""

from .main import main

main()
