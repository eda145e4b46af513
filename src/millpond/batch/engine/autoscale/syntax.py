"""From text to program, by the grammar in ``formula.lark``.

Imported when the first formula is compiled, so that a service without one does not pay for the parser. The grammar is
read through ``importlib.resources``: it is a part of this package's code, a constant, and no input from the world.
"""

from __future__ import annotations

import functools
import math
from importlib import resources
from typing import Final

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken

from .errors import Position, syntax_error
from .program import (
    Binary,
    Call,
    Discard,
    Field,
    Jump,
    JumpUnless,
    Load,
    Method,
    Program,
    Push,
    Stop,
    Store,
    Truth,
    Unary,
)

_MOST_STATEMENTS: Final = 100


def parse(text: str) -> Program:
    """Raises :class:`~.errors.FormulaError` for text that is no formula."""
    try:
        # The transformer runs while parsing, so what comes out is no tree.
        program: Program = _parser().parse(text)  # type: ignore[assignment]
    except UnexpectedToken as problem:
        if problem.token.type == "$END":
            raise syntax_error(_end(text), "the formula ends in the middle of a statement") from None
        raise syntax_error(_position(problem.token), _unexpected(problem)) from None
    except UnexpectedInput as problem:
        character = text[problem.pos_in_stream or 0]
        raise syntax_error(Position(problem.line, problem.column), f"unexpected character '{character}'") from None
    if not program:
        raise syntax_error(Position(1, 1), "the formula has no statement")
    return program


@functools.cache
def _parser() -> Lark:
    grammar = resources.files(__package__).joinpath("formula.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", start="formula", transformer=_Emitter())


class _Emitter(Transformer[Token, Program]):
    """For each rule of the grammar, the instructions of what it matched.

    A part's instructions belong to nobody else, so they are extended in place: a chain of operators costs its length.
    """

    def formula(self, statements: list[Program]) -> Program:
        program: Program = []
        for count, statement in enumerate(statements):
            if count == _MOST_STATEMENTS:
                raise syntax_error(statement[-1].position, f"a formula has at most {_MOST_STATEMENTS} statements")
            program += statement
        return program

    def assignment(self, parts: tuple[Token, Program]) -> Program:
        name, code = parts
        code.append(Store(_position(name), str(name)))
        return code

    def discarded(self, parts: tuple[Program]) -> Program:
        (code,) = parts
        code.append(Discard(code[-1].position))
        return code

    def conditional(self, parts: tuple[Program, Token, Program, Program]) -> Program:
        code, symbol, yes, no = parts
        position = _position(symbol)
        code.append(JumpUnless(position, str(symbol), len(yes) + 1))
        code += yes
        code.append(Jump(position, len(no)))
        code += no
        return code

    def either(self, parts: tuple[Program, Token, Program]) -> Program:
        code, symbol, right = parts
        position = _position(symbol)
        code += [JumpUnless(position, str(symbol), 2), Push(position, 1.0), Jump(position, len(right) + 1)]
        code += right
        code.append(Truth(position, str(symbol)))
        return code

    def both(self, parts: tuple[Program, Token, Program]) -> Program:
        code, symbol, right = parts
        position = _position(symbol)
        code.append(JumpUnless(position, str(symbol), len(right) + 2))
        code += right
        code += [Truth(position, str(symbol)), Jump(position, 1), Push(position, 0.0)]
        return code

    def binary(self, parts: tuple[Program, Token, Program]) -> Program:
        code, symbol, right = parts
        code += right
        code.append(Binary(_position(symbol), str(symbol)))
        return code

    def unary(self, parts: tuple[Token, Program]) -> Program:
        symbol, code = parts
        code.append(Unary(_position(symbol), str(symbol)))
        return code

    def field(self, parts: tuple[Program, Token]) -> Program:
        code, name = parts
        code.append(Field(_position(name), str(name)))
        return code

    def method(self, parts: tuple[Program, Token, Token, list[Program]]) -> Program:
        code, name, bracket, arguments = parts
        for argument in arguments:
            code += argument
        code.append(Method(_position(bracket), str(name), len(arguments)))
        return code

    def call(self, parts: tuple[Token, Token, list[Program]]) -> Program:
        name, bracket, arguments = parts
        if name == "stop" and not arguments:
            return [Stop(_position(bracket))]
        code: Program = []
        for argument in arguments:
            code += argument
        code.append(Call(_position(bracket), str(name), len(arguments)))
        return code

    def arguments(self, parts: list[Program]) -> list[Program]:
        return parts

    def name(self, parts: tuple[Token]) -> Program:
        (name,) = parts
        return [Load(_position(name), str(name))]

    def number(self, parts: tuple[Token]) -> Program:
        (digits,) = parts
        value = float(digits)
        if math.isinf(value):
            raise syntax_error(_position(digits), "the number is too large")
        return [Push(_position(digits), value)]

    def string(self, parts: tuple[Token]) -> Program:
        (quoted,) = parts
        return [Push(_position(quoted), str(quoted)[1:-1])]


def _position(token: Token) -> Position:
    return Position(token.line or 1, token.column or 1)


def _end(text: str) -> Position:
    return Position(text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)


def _unexpected(problem: UnexpectedToken) -> str:
    reason = f"unexpected '{problem.token}'"
    # Two statements without a semicolon between them are the usual slip.
    could_begin = problem.token.type in {"NAME", "NUMBER", "STRING"}
    return f"{reason}; is there a ';' missing before it?" if could_begin and "SEMICOLON" in problem.accepts else reason
