"""What the client programs share: checks that vouch for methods of an SDK, and a stand before the client that sees
whether a check called what it vouches for."""

import json
import time
import traceback


class Recorder:
    """Hands on to ``target``, and notes the names of the methods that are called."""

    def __init__(self, target, called, prefix=""):
        self._target, self._called, self._prefix = target, called, prefix

    def __getattr__(self, name):
        value = getattr(self._target, name)
        if not callable(value):
            group = "".join(part.capitalize() for part in name.split("_"))
            return Recorder(value, self._called, f"{group}.")

        def call(*args, **kwargs):
            self._called.add(f"{self._prefix}{name}")
            return value(*args, **kwargs)

        return call


class Checks:
    """Functions in the order in which they are to run, each with the methods whose effect it has seen when it ends."""

    def __init__(self):
        self._called = set()
        self._functions = []

    def recorder(self, client):
        return Recorder(client, self._called)

    def of(self, *methods, refused=None, unless=False):
        """``refused``: the service refuses what these methods ask for, for this reason."""

        def register(function):
            if not unless:
                self._functions.append((methods, refused, function))
            return function

        return register

    def run(self):
        """Run all, and print for each method ``ok``, why it is refused, or what went wrong."""
        outcomes = {}
        for methods, refused, function in self._functions:
            self._called.clear()
            try:
                function()
                missing = set(methods) - self._called
                assert not missing, f"{function.__name__} did not call {sorted(missing)}"
                outcome = f"refused: {refused}" if refused else "ok"
            except Exception as failure:
                frames = traceback.extract_tb(failure.__traceback__)
                line = [each.lineno for each in frames if each.filename == function.__code__.co_filename][-1:]
                outcome = f"failed in {function.__name__}, line {line}: {_summary(failure)}"
            outcomes.update(dict.fromkeys(methods, outcome))
        print(json.dumps(outcomes))


def _summary(failure):
    """What went wrong in a line; of a refusal, its code and what it names."""
    refusal = getattr(failure, "model", None) or getattr(failure, "error", None)
    if refusal is None:
        return repr(failure)[:300]
    values = getattr(refusal, "error_values", None) or vars(refusal).get("values") or ()
    return " ".join([refusal.code, *(f"{each.key}={each.value}" for each in values if hasattr(each, "key"))])


def wait_for(what, seconds=30):
    """The first true value that ``what`` gives."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.05)
    return value
