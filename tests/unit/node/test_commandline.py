from __future__ import annotations

from pathlib import Path

import pytest

from millpond.node.commandline import candidates, split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("true", ["true"]),
        ("  python3   task.py  3 ", ["python3", "task.py", "3"]),
        ("/bin/sh -c 'echo a && echo b'", ["/bin/sh", "-c", "echo a && echo b"]),
        ('/bin/sh -c "echo \\"quoted\\""', ["/bin/sh", "-c", 'echo "quoted"']),
        ("echo $HOME > out.txt", ["echo", "$HOME", ">", "out.txt"]),
        ('echo "a  b" c\\ d', ["echo", "a  b", "c d"]),
        ("echo 'back\\slash'", ["echo", "back\\slash"]),
        ('echo "" x', ["echo", "", "x"]),
        ("echo a#b #c", ["echo", "a#b", "#c"]),
        ("echo\tå\n*", ["echo", "å", "*"]),
        ("", []),
    ],
)
def test_split_groups_by_quotes_and_expands_nothing(line: str, words: list[str]) -> None:
    assert split(line) == words


@pytest.mark.parametrize("line", ["echo 'open", 'echo "open', "echo x\\"])
def test_split_of_an_open_quotation_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="No"):
        split(line)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    for name, mode in (("bin/tool", 0o755), ("wd/tool", 0o755), ("wd/text", 0o644), ("wd/sub/tool", 0o755)):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.chmod(mode)
    return tmp_path


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("tool", ["bin/tool", "wd/tool"]),
        ("./tool", ["wd/./tool"]),
        ("sub/tool", ["wd/sub/tool"]),
        ("text", []),  # nobody may execute it
        ("./text", ["wd/./text"]),  # the same, said by name: its launch will say so
        ("sub", []),  # a directory
        ("none", []),
        ("bad\0name", []),
    ],
)
def test_candidates_follow_the_path_and_the_working_directory(places: Path, program: str, found: list[str]) -> None:
    path = f"{places}/missing:{places}/bin:{places}/wd"
    assert list(candidates(program, path, f"{places}/wd")) == [f"{places}/{name}" for name in found]
