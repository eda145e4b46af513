"""What the tests of ``azure-storage-blob`` import as ``devtools_testutils``, for live runs.

The names are theirs. Nothing is recorded or played back, so the decorators and sanitizers for that do nothing.
"""

from __future__ import annotations

import inspect
import os
import string
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from random import Random
from time import sleep
from typing import Any, NamedTuple

from azure.core.credentials import AzureNamedKeyCredential

from .tokens import AsyncTokenCredential, FakeTokenCredential, SyncTokenCredential

__all__ = [
    "AzureRecordedTestCase",
    "EnvironmentVariableLoader",
    "EnvironmentVariableOptions",
    "FakeTokenCredential",
    "ResponseCallback",
    "RetryCounter",
    "add_body_regex_sanitizer",
    "add_general_regex_sanitizer",
    "add_header_regex_sanitizer",
    "add_oauth_response_sanitizer",
    "add_uri_regex_sanitizer",
    "is_live",
    "recorded_by_proxy",
    "set_custom_default_matcher",
]

Test = Callable[..., Any]


def is_live() -> bool:
    return True


def _do_nothing(*_: object, **__: object) -> None:
    pass


add_body_regex_sanitizer = add_general_regex_sanitizer = add_header_regex_sanitizer = _do_nothing
add_oauth_response_sanitizer = add_uri_regex_sanitizer = set_custom_default_matcher = _do_nothing


def recorded_by_proxy(test: Test) -> Test:
    return test


class Secret(NamedTuple):
    """A setting that is never printed by the real test support."""

    secret: str


class EnvironmentVariableOptions(NamedTuple):
    hide_secrets: list[str]


class EnvironmentVariableLoader:
    """Gives a test its settings, ``storage_account_name`` and so on, from the environment."""

    def __init__(self, directory: str, *, options: EnvironmentVariableOptions, **names: str) -> None:
        self._settings: dict[str, str | Secret] = {}
        for name in names:
            value = os.environ[name.upper()]
            self._settings[name] = Secret(value) if name in options.hide_secrets else value

    def __call__(self, test: Test) -> Test:
        own = inspect.signature(test)
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.parameters.values())
        given = {name: value for name, value in self._settings.items() if takes_all or name in own.parameters}
        decorated = _with_settings(test, given)
        # What is left is what pytest has to give: parameters of parametrized tests, fixtures.
        left = [
            parameter
            for name, parameter in own.parameters.items()
            if name not in given and parameter.kind is not parameter.VAR_KEYWORD
        ]
        decorated.__signature__ = own.replace(parameters=left)  # type: ignore[attr-defined]
        return decorated


def _with_settings(test: Test, given: Mapping[str, object]) -> Test:
    """The test with these settings as arguments, and with what it returns (values to record) dropped."""
    if inspect.iscoroutinefunction(test):

        @wraps(test)
        async def run_async(*arguments: object, **others: object) -> None:
            await test(*arguments, **given, **others)

        return run_async

    @wraps(test)
    def run(*arguments: object, **others: object) -> None:
        test(*arguments, **given, **others)

    return run


class AzureRecordedTestCase:
    """What every class of tests inherits."""

    is_live = True

    def is_playback(self) -> bool:
        return False

    def get_resource_name(self, prefix: str) -> str:
        """A name that is the same all through a test, and another one in every other test."""
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        return f"{prefix}{zlib.crc32(test.encode()):08x}"

    def get_datetime_variable(self, variables: object, name: str, value: datetime) -> datetime:
        return value

    def get_settings_value(self, name: str) -> str:
        return os.environ.get(name, "conformance")

    def get_credential(self, client_class: type, *, is_async: bool = False, **_: object) -> Any:
        """A token credential; the account's key where the service takes no tokens."""
        if not os.environ["CONFORMANCE_TOKENS"]:
            return AzureNamedKeyCredential(os.environ["STORAGE_ACCOUNT_NAME"], os.environ["STORAGE_ACCOUNT_KEY"])
        return AsyncTokenCredential() if is_async else SyncTokenCredential()

    def generate_sas(self, generate: Callable[..., str], *arguments: object, **options: object) -> str:
        options.pop("fake_value", None)  # what a recording would show in its place
        return generate(*arguments, **options)

    def get_random_bytes(self, size: int) -> bytes:
        return Random(size).randbytes(size)

    def get_random_text_data(self, size: int) -> str:
        return "".join(Random(size).choices(string.ascii_letters, k=size))

    def sleep(self, seconds: float) -> None:
        sleep(seconds)


class RetryCounter:
    """Counts how often a client tries again."""

    def __init__(self) -> None:
        self.count = 0

    def simple_count(self, *_: object, **__: object) -> None:
        self.count += 1


class ResponseCallback:
    """Makes the client see another status than the one that was answered."""

    def __init__(self, status: int, new_status: int) -> None:
        self.count = 0
        self._status = status
        self._new_status = new_status

    def override_status(self, response: Any) -> None:
        if response.http_response.status_code == self._status:
            response.http_response.status_code = self._new_status
        self.count += 1

    def override_first_status(self, response: Any) -> None:
        if self.count == 0:
            self.override_status(response)
