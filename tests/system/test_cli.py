"""The command line that needs no server: help, accounts, credentials, and what it says when it cannot."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers import millpond, millpond_credentials

import millpond as package
from millpond.common.config import Accounts

_NAMES = [
    "BATCH_ACCOUNT_NAME",
    "BATCH_ACCOUNT_KEY",
    "BATCH_ACCOUNT_URL",
    "STORAGE_ACCOUNT_NAME",
    "STORAGE_ACCOUNT_KEY",
    "STORAGE_ACCOUNT_URL",
    "STORAGE_CONNECTION_STRING",
]


def test_version_is_the_packages() -> None:
    assert millpond("--version").stdout == f"millpond {package.__version__}\n"


@pytest.mark.parametrize(
    "command", [(), ("serve",), ("credentials",), ("account",), ("account", "add"), ("account", "rotate-key")]
)
def test_help_shows_usage(command: tuple[str, ...]) -> None:
    done = millpond(*command, "--help")
    assert done.returncode == 0
    assert "Usage: " in done.stdout


def test_usage_error_exits_with_2() -> None:
    done = millpond("serve", "--batch-port", "65536")
    assert done.returncode == 2
    assert "--batch-port" in done.stderr


def test_credentials_without_server_are_of_the_default_ports(tmp_path: Path) -> None:
    values = millpond_credentials(tmp_path / "data")
    assert list(values) == _NAMES
    assert values["BATCH_ACCOUNT_URL"] == "http://127.0.0.1:10100"
    assert values["STORAGE_ACCOUNT_URL"] == f"http://127.0.0.1:10000/{values['STORAGE_ACCOUNT_NAME']}"
    assert len(base64.b64decode(values["BATCH_ACCOUNT_KEY"])) == 64
    assert values == millpond_credentials(tmp_path / "data")


def test_credentials_take_ports_from_the_settings_file(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'data = "{tmp_path / "data"}"\nbatch_port = 20100\nhost = "0.0.0.0"\n')
    done = millpond("credentials", "--config", config, "--format", "json")
    assert json.loads(done.stdout)["BATCH_ACCOUNT_URL"] == "http://127.0.0.1:20100"


def test_credentials_as_environment_are_read_by_a_shell(tmp_path: Path) -> None:
    data = tmp_path / "it's data"
    exports = millpond("credentials", "--data", data, "--format", "env").stdout
    script = f'{exports}\nfor name in {" ".join(_NAMES)}; do eval "echo \\$$name"; done'
    shell = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout.splitlines() == list(millpond_credentials(data).values())


def test_credentials_as_table_name_each_value(tmp_path: Path) -> None:
    lines = millpond("credentials", "--data", tmp_path / "data").stdout.splitlines()
    assert dict(line.split() for line in lines) == millpond_credentials(tmp_path / "data")


def test_accounts_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    millpond_credentials(tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "accounts.json").stat().st_mode) == 0o600


def test_added_account_has_keys_of_its_own(tmp_path: Path) -> None:
    assert millpond("account", "add", "second", "--kind", "batch", "--data", tmp_path).returncode == 0
    assert millpond("account", "add", "third", "--kind", "batch", "--data", tmp_path).returncode == 0
    listed = json.loads(millpond("account", "list", "--data", tmp_path, "--format", "json").stdout)
    assert listed == [{"kind": "batch", "name": "second"}, {"kind": "batch", "name": "third"}]
    shown = millpond("credentials", "--data", tmp_path, "--format", "json", "--batch-account", "third").stdout
    keys = Accounts(tmp_path).get("batch", "third")
    assert keys is not None
    assert json.loads(shown)["BATCH_ACCOUNT_KEY"] == keys.key1 != keys.key2
    assert "third" in millpond("account", "list", "--data", tmp_path).stdout


@pytest.mark.parametrize("key", ["key1", "key2"])
def test_rotated_key_is_new_and_the_other_stays(tmp_path: Path, key: str) -> None:
    millpond("account", "add", "second", "--kind", "storage", "--data", tmp_path)
    before = Accounts(tmp_path).get("storage", "second")
    assert millpond("account", "rotate-key", "second", "--key", key, "--data", tmp_path).returncode == 0
    after = Accounts(tmp_path).get("storage", "second")
    assert before is not None
    assert after is not None
    other = "key2" if key == "key1" else "key1"
    assert getattr(after, key) != getattr(before, key)
    assert getattr(after, other) == getattr(before, other)


def test_what_the_blob_service_keeps_is_set_one_by_one_and_shown(tmp_path: Path) -> None:
    millpond("account", "add", "second", "--kind", "storage", "--data", tmp_path)
    for options, shown in (
        ((), ["off", "0 days", "off", "off"]),
        (("--versioning",), ["on", "0 days", "off", "off"]),
        (("--container-retention", "7", "--last-access"), ["on", "7 days", "on", "off"]),
        (("--no-versioning", "--immutability"), ["off", "7 days", "on", "on"]),
    ):
        done = millpond("account", "blob", "second", *options, "--data", tmp_path)
        assert [line.partition(": ")[2] for line in done.stdout.splitlines()] == shown
    assert Accounts(tmp_path).blob_features("second").container_retention_days == 7
    assert millpond("account", "blob", "other", "--data", tmp_path).returncode == 1


def test_rotate_key_asks_for_the_kind_where_both_have_the_name(tmp_path: Path) -> None:
    for kind in ("batch", "storage"):
        millpond("account", "add", "same", "--kind", kind, "--data", tmp_path)
    done = millpond("account", "rotate-key", "same", "--data", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--kind" in done.stderr
    assert millpond("account", "rotate-key", "same", "--kind", "batch", "--data", tmp_path).returncode == 0


def _data_is_a_file(directory: Path) -> list[str | Path]:
    (directory / "data").write_text("")
    return ["credentials", "--data", directory / "data"]


def _accounts_are_damaged(directory: Path) -> list[str | Path]:
    (directory / "accounts.json").write_text('{"batch": ')
    return ["credentials", "--data", directory]


def _key_is_not_base64(directory: Path) -> list[str | Path]:
    (directory / "accounts.json").write_text('{"batch": {"name": {"key1": "?", "key2": "?"}}}')
    return ["account", "list", "--data", directory]


def _setting_is_unknown(directory: Path) -> list[str | Path]:
    (directory / "settings.toml").write_text("batch_prot = 1")
    return ["serve", "--config", directory / "settings.toml"]


def _setting_has_the_wrong_type(directory: Path) -> list[str | Path]:
    (directory / "settings.toml").write_text('batch_port = "1"')
    return ["serve", "--config", directory / "settings.toml"]


@pytest.mark.parametrize(
    ("arrange", "named"),
    [
        (_data_is_a_file, "data directory"),
        (_accounts_are_damaged, "accounts.json"),
        (_key_is_not_base64, "accounts.json"),
        (_setting_is_unknown, "batch_prot"),
        (_setting_has_the_wrong_type, "batch_port"),
        (lambda _: ["serve", "--config", "/does/not/exist"], "/does/not/exist"),
        (lambda directory: ["account", "add", "Not_Valid", "--kind", "batch", "--data", directory], "Not_Valid"),
        (lambda directory: ["account", "rotate-key", "nobody", "--data", directory], "nobody"),
        (lambda directory: ["credentials", "--batch-account", "nobody", "--data", directory], "nobody"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(
    tmp_path: Path, arrange: Callable[[Path], list[str | Path]], named: str
) -> None:
    done = millpond(*arrange(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("millpond: ")
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


def test_adding_an_account_twice_keeps_the_first(tmp_path: Path) -> None:
    millpond("account", "add", "same", "--kind", "batch", "--data", tmp_path)
    before = (tmp_path / "accounts.json").read_bytes()
    done = millpond("account", "add", "same", "--kind", "batch", "--data", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert (tmp_path / "accounts.json").read_bytes() == before


def test_output_into_a_closed_pipe_ends_without_a_trace(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-u", "-m", "millpond.cli", "credentials", "--data", tmp_path],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
