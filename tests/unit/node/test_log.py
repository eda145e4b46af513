from __future__ import annotations

import os
from pathlib import Path

from millpond.node.log import shorten


def test_log_keeps_its_last_words_when_it_has_grown_too_long(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        for number in range(1000):
            os.write(file, f"line {number:04}\n".encode())
            shorten(file, 200)
            assert path.stat().st_size <= 200
    finally:
        os.close(file)
    lines = path.read_text().splitlines()
    assert len(lines) >= 10
    assert lines[-1] == "line 0999"
    assert lines[1:] == [f"line {number:04}" for number in range(1001 - len(lines), 1000)]


def test_log_that_is_no_file_is_left_alone() -> None:
    read, write = os.pipe()
    try:
        os.write(write, b"words")
        shorten(write, 1)
        assert os.read(read, 10) == b"words"
    finally:
        os.close(read)
        os.close(write)
