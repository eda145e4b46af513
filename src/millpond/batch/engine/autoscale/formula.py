"""Compiling and evaluating formulas."""

from __future__ import annotations

import functools
import hashlib
from typing import Final

import msgspec

from ...model.pool import DeallocationOption
from . import functions, operators
from .errors import FormulaError, Problem, evaluation_error, too_long
from .program import (
    Binary,
    Call,
    Discard,
    Field,
    Instruction,
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
from .samples import Metric, SampleHistory
from .values import (
    CONSTANTS,
    TICKS_PER_MICROSECOND,
    Timestamp,
    Value,
    checked,
    moment_of,
    plain,
    type_name,
    written,
)
from .variables import (
    DEALLOCATION_OPTION,
    METRIC_ALIASES,
    METRICS,
    TARGET_ALIASES,
    TARGET_DEDICATED,
    TARGET_LOW_PRIORITY,
)

#: Characters of a formula.
MOST_CHARACTERS: Final = 8192
#: Vector elements that one evaluation may handle in all: the bound of its time and memory. It is enough to take all
#: samples of a day a hundred times, and to use them.
MOST_ELEMENTS: Final = 500_000
_MOST_NODES: Final = 2**31 - 1
#: The names of the targets, each with the other name of the same.
_TARGET_NAMES: Final = TARGET_ALIASES | {alias: name for name, alias in TARGET_ALIASES.items()}


class Targets(msgspec.Struct, frozen=True):
    """How many nodes a pool should have."""

    dedicated_nodes: int = 0
    low_priority_nodes: int = 0


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What a formula says; where ``error`` is set, the targets are those that the pool already has."""

    targets: Targets
    node_deallocation_option: DeallocationOption
    #: Targets and option, then the formula's own variables in order of their names: ``$TargetDedicatedNodes=3;…``.
    results: str
    error: FormulaError | None = None


class Formula:
    """A formula that has been compiled."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def evaluate(self, samples: SampleHistory, now: int, targets: Targets = Targets()) -> Evaluation:  # noqa: B008
        """The targets that the formula sets at the moment ``now``; ``targets`` are those that the pool has.

        An error of the formula is part of the evaluation and not raised. ``rand()`` follows from ``now``.
        """
        run = _Run(samples, now, targets)
        try:
            run.run(self._program)
        except FormulaError as error:
            return run.failed(error)
        return run.ended()


@functools.lru_cache(maxsize=256)
def compile(text: str) -> Formula:  # noqa: A001
    """Check a formula and make it ready to be evaluated; what it says is remembered for the next time.

    Raises :class:`FormulaError` with the code ``AutoScaleFormulaTooLong`` or ``AutoScalingFormulaSyntaxError``.
    """
    if len(text) > MOST_CHARACTERS:
        raise too_long(MOST_CHARACTERS)
    from .syntax import parse

    return Formula(parse(text))


def evaluate(text: str, samples: SampleHistory, now: int, targets: Targets = Targets()) -> Evaluation:  # noqa: B008
    """Compile and evaluate: for the dry run, where an error of syntax too is part of the result."""
    try:
        formula = compile(text)
    except FormulaError as error:
        return _Run(samples, now, targets).failed(error)
    return formula.evaluate(samples, now, targets)


class _Run:
    """One evaluation: a stack and the variables."""

    def __init__(self, samples: SampleHistory, now: int, targets: Targets) -> None:
        self._samples = samples
        self._now = now
        self._present = targets
        self._stack: list[Value] = []
        #: Targets by each of their names, as far as they were assigned.
        self._targets: dict[str, float] = {}
        self._option = DeallocationOption.REQUEUE
        #: The formula's own variables.
        self._variables: dict[str, Value] = {}
        self._elements = 0
        self._randoms = 0

    def run(self, program: Program) -> None:
        """Raises :class:`FormulaError`."""
        place = 0
        while place < len(program):
            instruction = program[place]
            place += 1
            try:
                match instruction:
                    case Stop():
                        return
                    case Jump(skip=skip):
                        place += skip
                    case JumpUnless(symbol=symbol, skip=skip):
                        if not operators.truth(self._stack.pop(), symbol):
                            place += skip
                    case _:
                        self._carry_out(instruction)
            except Problem as problem:
                raise evaluation_error(instruction.position, problem) from None
            except ZeroDivisionError:
                raise evaluation_error(instruction.position, Problem("division by zero")) from None
            except OverflowError:
                raise evaluation_error(instruction.position, Problem("the result is too large")) from None

    def _carry_out(self, instruction: Instruction) -> None:
        stack = self._stack
        match instruction:
            case Push(value=value):
                stack.append(value)
            case Load(name=name):
                self._push(self._load(name))
            case Store(name=name):
                self._store(name, plain(stack.pop()))
            case Discard():
                stack.pop()
            case Unary(symbol=symbol):
                self._push(operators.unary(symbol, stack.pop()))
            case Binary(symbol=symbol):
                right = stack.pop()
                self._push(operators.binary(symbol, stack.pop(), right))
            case Truth(symbol=symbol):
                stack.append(float(operators.truth(stack.pop(), symbol)))
            case Field(name=name):
                self._push(functions.field(stack.pop(), name))
            case Method(name=name, arguments=count):
                arguments = self._pop(count)
                self._push(functions.method(stack.pop(), name, arguments))
            case Call(name=name, arguments=count):
                self._push(self._call(name, self._pop(count)))

    def _push(self, value: Value) -> None:
        if isinstance(value, tuple):
            self._elements += len(value)
            if self._elements > MOST_ELEMENTS:
                raise Problem(f"the formula handles more than {MOST_ELEMENTS} elements of vectors")
        self._stack.append(checked(value))

    def _pop(self, count: int) -> list[Value]:
        start = len(self._stack) - count
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _call(self, name: str, arguments: list[Value]) -> Value:
        match name, arguments:
            case "time", [] | [""]:
                return Timestamp(self._now * TICKS_PER_MICROSECOND)
            case "time", [str(text)]:
                return moment_of(text)
            case "rand", []:
                self._randoms += 1
                seed = f"{self._now} {self._randoms}".encode()
                return int.from_bytes(hashlib.blake2b(seed, digest_size=6).digest()) / 2**48
            case "time" | "rand" | "stop", _:
                raise Problem(f"{name} does not take ({', '.join(map(type_name, arguments))})")
        return functions.call(name, arguments)

    def _load(self, name: str) -> Value:
        if name in self._variables:
            return self._variables[name]
        if name in _TARGET_NAMES:
            return self._target(name)
        if name == DEALLOCATION_OPTION:
            return self._option
        if name in METRICS or name in METRIC_ALIASES:
            return Metric(name, self._samples.samples(METRIC_ALIASES.get(name, name)), self._now)
        if name in CONSTANTS:
            return CONSTANTS[name]
        raise Problem(f"Undefined symbol: {name}")

    def _target(self, name: str) -> float:
        """A target as assigned by this name, by its other name, or as the pool has it."""
        other = _TARGET_NAMES[name]
        return self._targets.get(name, self._targets.get(other, self._present_target(name)))

    def _present_target(self, name: str) -> float:
        low_priority = TARGET_LOW_PRIORITY in {name, _TARGET_NAMES[name]}
        return float(self._present.low_priority_nodes if low_priority else self._present.dedicated_nodes)

    def _store(self, name: str, value: Value) -> None:
        if name in _TARGET_NAMES:
            if not isinstance(value, float):
                raise Problem(f"{name} is a double, not {type_name(value)}")
            if value > _MOST_NODES:
                raise Problem(f"{name} is at most {_MOST_NODES}")
            self._targets[name] = value
        elif name == DEALLOCATION_OPTION:
            if not isinstance(value, DeallocationOption):
                raise Problem(f"{name} is one of {', '.join(DeallocationOption)}, not {type_name(value)}")
            self._option = value
        elif name in METRICS or name in METRIC_ALIASES:
            raise Problem(f"{name} is read-only")
        elif name in CONSTANTS:
            raise Problem(f"{name} is a constant")
        else:
            self._variables[name] = value

    def ended(self) -> Evaluation:
        # A fraction of a node is none; nor can there be less than none.
        targets = Targets(
            max(0, int(self._target(TARGET_DEDICATED))),
            max(0, int(self._target(TARGET_LOW_PRIORITY))),
        )
        return self._evaluation(targets, self._option, None)

    def failed(self, error: FormulaError) -> Evaluation:
        """The pool as it is, and what the formula had found out before the error."""
        return self._evaluation(self._present, DeallocationOption.REQUEUE, error.with_traceback(None))

    def _evaluation(self, targets: Targets, option: DeallocationOption, error: FormulaError | None) -> Evaluation:
        results = [
            f"{TARGET_DEDICATED}={targets.dedicated_nodes}",
            f"{TARGET_LOW_PRIORITY}={targets.low_priority_nodes}",
            f"{DEALLOCATION_OPTION}={option}",
            *(f"{name}={written(value)}" for name, value in sorted(self._variables.items())),
        ]
        return Evaluation(targets=targets, node_deallocation_option=option, results=";".join(results), error=error)
