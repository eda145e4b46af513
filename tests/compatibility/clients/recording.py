"""What the client programs share: checks that vouch for methods of an SDK, and what sees whether a check called what
it vouches for: a stand before the client, or, where clients make clients, before the methods of their classes."""

import functools
import inspect
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
        #: Methods that some check has to vouch for.
        self._wanted = []
        self._is_inside = False

    def recorder(self, client):
        return Recorder(client, self._called)

    def watch(self, *owners, apart_from=()):
        """Want all public methods of these classes, and see who calls them; what they call themselves is not seen.

        A method is called as the class that defines it says. A module stands for the functions that it exports.
        """
        for owner in owners:
            for holder in getattr(owner, "__mro__", [owner]):
                names = getattr(holder, "__all__", None) or vars(holder)
                prefix = f"{holder.__name__}." if inspect.isclass(holder) else ""
                for name in sorted(each for each in names if not each.startswith("_")):
                    function = vars(holder).get(name)
                    if inspect.isfunction(function) and f"{prefix}{name}" not in (*apart_from, *self._wanted):
                        self._wanted.append(f"{prefix}{name}")
                        setattr(holder, name, self._seen(f"{prefix}{name}", function))

    def _seen(self, name, function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            if self._is_inside:
                return function(*args, **kwargs)
            self._called.add(name)
            self._is_inside = True
            try:
                return function(*args, **kwargs)
            finally:
                self._is_inside = False

        return call

    def of(self, *methods, refused=None, unless=False):
        """``refused``: the service refuses what these methods ask for, for this reason."""

        def register(function):
            if not unless:
                self._functions.append((methods, refused, function))
            return function

        return register

    def run(self):
        """Run all, and print for each method ``ok``, why it is refused, or what first went wrong."""
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
            for method in methods:
                if outcomes.get(method, "ok") == "ok":
                    outcomes[method] = outcome
        print(json.dumps({**dict.fromkeys(self._wanted, "is not called by any check"), **outcomes}))


def _summary(failure):
    """What went wrong in a line; of a refusal, its code and what it names."""
    refusal = getattr(failure, "model", None) or getattr(failure, "error", None)
    if not hasattr(refusal, "code"):
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
