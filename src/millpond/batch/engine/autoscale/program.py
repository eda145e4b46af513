"""What a formula is compiled to: instructions for a machine with a stack.

A flat program has no depth, so neither a long sum nor a deep nest of operators can exhaust anything. Its jumps only
lead forward, so it ends.
"""

from __future__ import annotations

import msgspec

from .errors import Position
from .values import Value


class Instruction(msgspec.Struct, frozen=True):
    #: Where its errors are: the operator, the opening bracket of a call, or the name.
    position: Position


class Push(Instruction, frozen=True):
    value: Value


class Load(Instruction, frozen=True):
    """Push what a name means."""

    name: str


class Store(Instruction, frozen=True):
    """Assign the top of the stack."""

    name: str


class Discard(Instruction, frozen=True):
    """Drop the top of the stack."""


class Unary(Instruction, frozen=True):
    symbol: str


class Binary(Instruction, frozen=True):
    symbol: str


class Truth(Instruction, frozen=True):
    """Replace the top of the stack by 1 or 0, as the operator ``&&`` or ``||`` sees it."""

    symbol: str


class Field(Instruction, frozen=True):
    name: str


class Call(Instruction, frozen=True):
    """Call a function with the topmost ``arguments`` values, the last one on top."""

    name: str
    arguments: int


class Method(Instruction, frozen=True):
    """The same for a method; its owner lies below the arguments."""

    name: str
    arguments: int


class JumpUnless(Instruction, frozen=True):
    """Pop a condition of the operator ``symbol``; where it is zero, skip so many instructions."""

    symbol: str
    skip: int


class Jump(Instruction, frozen=True):
    skip: int


class Stop(Instruction, frozen=True):
    """End the evaluation."""


Program = list[Instruction]
