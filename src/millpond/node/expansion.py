"""References to variables in the values of environment settings: ``$NAME``, ``${NAME}`` and ``%NAME%``.

A reference is replaced by the variable's value, expanded in turn. A setting that refers to itself means what it would
replace: the same name's value in the settings before, or the service's (``PATH`` = ``$PATH:/opt/bin``). What refers to
no variable, or to itself in a circle, stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_REFERENCE = re.compile(r"\$(\w+)|\$\{(\w+)\}|%(\w+)%", re.ASCII)
#: Longest value that comes of expansion, in characters: the kernel's limit for one variable.
_LONGEST = 1 << 17


def expanded(layers: Sequence[Mapping[str, str]], given: Mapping[str, str]) -> dict[str, str]:
    """The settings of all layers, the later ones before the earlier, with their references replaced.

    ``given``: variables that settings may refer to, besides each other.
    """
    settings: dict[str, str] = {}
    for layer in layers:
        if any("$" in value or "%" in value for value in layer.values()):
            settings.update(_Layer(layer, {**given, **settings}).values())
        else:
            settings.update(layer)
    return settings


class _Layer:
    """Settings that may refer to each other, and to what is known."""

    def __init__(self, settings: Mapping[str, str], known: Mapping[str, str]) -> None:
        self._settings = settings
        self._known = known
        self._values: dict[str, str] = {}
        #: Settings whose values are being found, each for the sake of the one before.
        self._under_way: list[str] = []

    def values(self) -> dict[str, str]:
        return {name: self._value(name) for name in self._settings}

    def _value(self, name: str) -> str:
        if name not in self._values:
            self._under_way.append(name)
            value = _REFERENCE.sub(self._replaced, self._settings[name])
            self._under_way.pop()
            self._values[name] = value if len(value) <= _LONGEST else self._settings[name]
        return self._values[name]

    def _replaced(self, reference: re.Match[str]) -> str:
        name = reference[1] or reference[2] or reference[3]
        if name not in self._settings or name == self._under_way[-1]:
            return self._known.get(name, reference[0])
        return reference[0] if name in self._under_way else self._value(name)
