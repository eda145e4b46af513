from __future__ import annotations

import sys

import pytest

from millpond.node.mounts import BlobfuseOptions, mount_options

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="mounts are Linux's")


@pytest.mark.parametrize(
    ("text", "is_read_only", "timeout"),
    [
        ("", False, 1.0),
        ("-o ro", True, 1.0),
        ("-oro,attr_timeout=240", True, 240.0),
        ("--read-only=true -o attr_timeout=2.5", True, 2.5),
        ("--read-only=false --file-cache-timeout-in-seconds=120", False, 1.0),
    ],
)
def test_options_of_blobfuse(text: str, is_read_only: bool, timeout: float) -> None:
    options = BlobfuseOptions(text)
    assert (options.is_read_only, options.attribute_timeout) == (is_read_only, timeout)


@linux_only
def test_options_of_mount() -> None:
    from millpond.node import linux

    flags, rest = mount_options("-o vers=3.0,dir_mode=0777,ro -o noexec,_netdev")
    assert flags == linux.MS_NOSUID | linux.MS_NODEV | linux.MS_RDONLY | linux.MS_NOEXEC
    assert rest == ["vers=3.0", "dir_mode=0777"]
