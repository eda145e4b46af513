"""``millpond blob`` as a user runs it: up, down, across, and what it says where it cannot."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.request import urlopen

import pytest
from tests.servers import Server, millpond, running_server
from tests.wire.blob.raw import RawClient

LARGE = os.urandom(1 << 20) * 9


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> object:
    with running_server(tmp_path_factory.mktemp("cli") / "data", "--only", "blob") as server:
        yield server


def blob(server: Server, command: str, *arguments: str | Path) -> str:
    """What a command prints, which must not fail."""
    done = millpond("blob", command, *arguments, "--data", server.data)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(server: Server, command: str, *arguments: str | Path) -> str:
    """What a command says that fails: one line."""
    done = millpond("blob", command, *arguments, "--data", server.data)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name, content in (("a.txt", b"a"), ("deep/b.txt", b"bb"), ("deep/er/c d#?%.bin", LARGE), ("empty", b"")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    return tree


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_directory_goes_up_and_comes_down_again(server: Server, tree: Path, tmp_path: Path) -> None:
    blob(server, "cp", "-r", tree, "blob://tree/top")
    assert blob(server, "ls").split() == ["tree/"]
    assert blob(server, "ls", "tree/top/").splitlines() == ["top/deep/", "top/a.txt", "top/empty"]
    assert blob(server, "ls", "tree/top").splitlines() == ["top/deep/", "top/a.txt", "top/empty"]
    lines = blob(server, "ls", "-r", "--format", "json", "tree").splitlines()
    sizes = {entry["name"]: entry["size"] for entry in map(json.loads, lines)}
    assert sizes == {"top/a.txt": 1, "top/deep/b.txt": 2, "top/deep/er/c d#?%.bin": len(LARGE), "top/empty": 0}
    blob(server, "cp", "-r", "blob://tree/top", tmp_path / "down")
    assert contents(tmp_path / "down") == contents(tree)
    blob(server, "cp", "blob://tree/**/*.txt", f"{tmp_path / 'texts'}/")
    assert contents(tmp_path / "texts") == {"top/a.txt": b"a", "top/deep/b.txt": b"bb"}
    assert blob(server, "cat", "tree/top/a.txt", "tree/top/deep/?.txt") == "abb"


def test_blobs_are_copied_between_blobs_and_removed(server: Server, tree: Path, tmp_path: Path) -> None:
    blob(server, "cp", tree / "a.txt", tree / "deep" / "b.txt", "blob://files")
    blob(server, "cp", "blob://files/a.txt", "blob://others/renamed")
    assert blob(server, "cat", "others/renamed") == "a"
    assert "--recursive" in refused(server, "rm", "files")
    blob(server, "rm", "files/a.*")
    assert blob(server, "ls", "files").split() == ["b.txt"]
    blob(server, "rm", "-r", "files", "others")
    assert not {"files/", "others/"} & set(blob(server, "ls").split())


def test_a_signed_url_is_enough(server: Server, tree: Path, tmp_path: Path) -> None:
    blob(server, "cp", tree / "a.txt", "blob://signed/some dir/a.txt")
    url = blob(server, "sas", "signed/some dir/a.txt", "--expiry", "1h").strip()
    with urlopen(url) as answer:
        assert answer.read() == b"a"
    container = blob(server, "sas", "signed", "--permissions", "rcwl").strip()
    elsewhere = {"STORAGE_CONNECTION_STRING": "", "XDG_DATA_HOME": str(tmp_path)}
    done = millpond("blob", "cp", "-r", container, tmp_path / "got", env=elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(tmp_path / "got") == {"some dir/a.txt": b"a"}
    upload = container.replace("/signed?", "/signed/new/b.txt?")
    done = millpond("blob", "cp", tree / "deep" / "b.txt", upload, env=elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    connection = {**elsewhere, "STORAGE_CONNECTION_STRING": server.credentials["STORAGE_CONNECTION_STRING"]}
    assert millpond("blob", "cat", "signed/new/b.txt", env=connection).stdout == "bb"
    account = blob(server, "sas", "--permissions", "l").strip()
    assert account.startswith(server.blob_url + "/?")


def test_between_accounts_blobs_pass_through(server: Server, tree: Path) -> None:
    assert millpond("account", "add", "second", "--kind", "storage", "--data", server.data).returncode == 0
    blob(server, "cp", "-r", tree / "deep", "blob://across")
    url = blob(server, "sas", "across/er/c d#?%.bin").strip()
    blob(server, "cp", url, "blob://across/copy.bin", "--account", "second")
    assert blob(server, "ls", "across", "--account", "second").split() == ["copy.bin"]
    line = blob(server, "ls", "-l", "across/copy.bin", "--account", "second").split()
    assert line[0] == str(len(LARGE))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("ls", "missing"), "The specified container does not exist. (ContainerNotFound)"),
        (("cat", "tree2/none"), "there is no such container"),
        (("cat", "one/none"), "there is no such blob"),
        (("cp", "here", "there"), "none of these is a blob: begin its name with blob://"),
        (("cp", "/no/such/file", "blob://tree2/x"), "there is no such file: /no/such/file"),
        (("sas", "tree2", "--permissions", "r!"), "permissions of a signature here are some of"),
        (("sas", "tree2", "--expiry", "soon"), "neither a time"),
        (("ls", "tree2", "--account", "nobody"), "there is no storage account nobody"),
        (("ls", "tree2", "--connection-string", "x=y"), "the connection string names neither"),
        (("rm", ""), "a container is missing"),
    ],
)
def test_failures_are_one_line(server: Server, tree: Path, arguments: tuple[str, ...], reason: str) -> None:
    if "one/none" in arguments:
        blob(server, "cp", tree / "a.txt", "blob://one/some")
    said = refused(server, *arguments)
    assert said.startswith(f"millpond: {reason}")
    assert "\n" not in said


def test_a_name_that_leads_out_of_the_directory_is_refused(server: Server, tree: Path, tmp_path: Path) -> None:
    raw = RawClient.of(server.credentials)
    raw.signed("PUT", raw.path("evil?restype=container"))
    assert raw.signed("PUT", raw.path("evil/../../outside"), {"x-ms-blob-type": "BlockBlob"}, b"x").status == 201
    assert "no path of a file" in refused(server, "cp", "-r", "blob://evil", tmp_path / "down")
    assert not (tmp_path / "outside").exists()


def test_what_cannot_be_copied_does_not_keep_the_rest(server: Server, tree: Path, tmp_path: Path) -> None:
    blob(server, "cp", "-r", tree, "blob://partly")
    (tmp_path / "down" / "a.txt").mkdir(parents=True)
    said = refused(server, "cp", "-r", "blob://partly", tmp_path / "down")
    assert said.splitlines()[-1] == "millpond: 1 of 4 could not be copied"
    assert set(contents(tmp_path / "down")) == set(contents(tree)) - {"a.txt"}


def test_nobody_there_is_said_without_the_signature(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/account/cont/a?sv=2021-12-02&sig=c2VjcmV0"
    done = millpond("blob", "cat", url, "--data", tmp_path / "none")
    assert done.returncode == 1
    assert done.stderr.startswith("millpond: the service cannot be reached: ")
    assert "Connection refused" in done.stderr
    assert "c2VjcmV0" not in done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["blobfuse2", "rclone", "pool"])
def test_hints_name_all_that_a_mount_needs(server: Server, kind: str) -> None:
    hint = blob(server, "mount-hint", "data", "--for", kind, "--directory", "/mnt/data")
    for part in (server.credentials["STORAGE_ACCOUNT_NAME"], server.credentials["STORAGE_ACCOUNT_KEY"], "data"):
        assert part in hint
    if kind == "pool":
        (mount,) = json.loads(hint)["mountConfiguration"]
        assert mount["azureBlobFileSystemConfiguration"]["relativeMountPath"] == "data"
    else:
        assert server.blob_url in hint


def test_fsck_finds_what_is_wrong_and_removes_what_nobody_needs(tree: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_server(data, "--only", "blob") as server:
        blob(server, "cp", "-r", tree, "blob://cont")
        blob(server, "cp", tree / "deep/er/c d#?%.bin", "blob://cont/one")
        blob(server, "cp", tree / "deep/er/c d#?%.bin", "blob://cont/three")
        assert "another server is running" in refused(server, "fsck")
    assert blob(server, "fsck", "--deep").endswith(" 0 wrong, 0 files too many.\n")
    files = sorted(path for path in (data / "blob" / "content").rglob("*") if path.is_file())
    (data / "blob" / "incoming" / "stray").write_bytes(b"x")
    assert "stray: no blob needs this file" in refused_check(data)
    assert "1 files too many, removed" in millpond("blob", "fsck", "--repair", "--data", data).stdout
    assert millpond("blob", "fsck", "--data", data).returncode == 0
    content = bytearray(files[0].read_bytes())
    content[5] ^= 1
    files[0].write_bytes(content)
    assert millpond("blob", "fsck", "--data", data).returncode == 0
    assert "its bytes have another MD5" in refused_check(data, "--deep")
    os.truncate(files[0], 5)
    assert f"its file {files[0].name} has 5 bytes instead of" in refused_check(data)
    files[0].unlink()
    assert f"its file {files[0].name} is missing" in refused_check(data)


def refused_check(data: Path, *options: str) -> str:
    done = millpond("blob", "fsck", *options, "--data", data)
    assert (done.returncode, done.stderr) == (1, "")
    return done.stdout
