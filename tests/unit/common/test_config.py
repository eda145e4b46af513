from pathlib import Path

import pytest

from millpond.common.config import AccountKeys, Accounts, load_settings, new_key


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "millpond.toml"
    file.write_text('host = "127.0.0.2"\nbatch_port = 1\n')
    settings = load_settings(file, batch_port=2, blob_port=None)
    assert (settings.host, settings.batch_port, settings.blob_port) == ("127.0.0.2", 2, 10000)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("bach_port = 1", "bach_port"),
        ('batch_port = "x"', "batch_port"),
        ("batch_port = 65536", "batch_port"),
        ("blob_port = -1", "blob_port"),
        ("=", "line 1"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "millpond.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=named):
        load_settings(file)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.toml"):
        load_settings(tmp_path / "nowhere.toml")


def test_accounts_are_private_and_seen_by_a_running_reader(tmp_path: Path) -> None:
    reader, writer = Accounts(tmp_path), Accounts(tmp_path)
    assert reader.keys("batch", "a") is None
    writer.put("batch", "a", AccountKeys(new_key(), new_key()))
    assert (tmp_path / "accounts.json").stat().st_mode & 0o777 == 0o600
    first = reader.keys("batch", "a")
    assert first is not None
    assert reader.keys("storage", "a") is None
    keys = writer.get("batch", "a")
    assert keys is not None
    writer.put("batch", "a", AccountKeys(new_key(), keys.key2))
    second = reader.keys("batch", "a")
    assert second is not None
    assert second[0] != first[0]
    assert second[1] == first[1]


def test_default_accounts_are_made_once(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    accounts.ensure_defaults()
    before = accounts.get("batch", "millpond")
    accounts.ensure_defaults()
    assert before is not None
    assert accounts.get("batch", "millpond") == before
    assert accounts.names("storage") == ["millpondstore"]
