"""The examples of README and tutorial: what they quote exists, what they run works."""

from __future__ import annotations

import re
import shlex
import textwrap
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.clients import run_client
from tests.servers import Server, millpond

_ROOT = Path(__file__).parents[2]
_PAGES = ["README.md", "CONTRIBUTING.md", "docs/tutorial.md", "docs/applications.md", "docs/tasks.md"]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(\s*([^)#:]+)(?:#[^)]*)?\)")


class Example(NamedTuple):
    page: str
    language: str
    text: str


def _examples(language: str, page: str | None = None) -> list[Example]:
    return [
        Example(each, *found)
        for each in ([page] if page else _PAGES)
        for found in _BLOCK.findall((_ROOT / each).read_text())
        if found[0] == language
    ]


@pytest.mark.parametrize("page", _PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = _LINK.findall((_ROOT / page).read_text())
    assert [link for link in links if not ((_ROOT / page).parent / link.strip()).exists()] == []


@pytest.mark.parametrize("example", _examples("sh"), ids=lambda example: example.text.splitlines()[0])
def test_commands_exist(example: Example) -> None:
    makefile = (_ROOT / "Makefile").read_text()
    for line in example.text.splitlines():
        for target in re.findall(r"\bmake (\w+)", line):
            assert f"\n{target}:" in makefile
        for command in re.findall(r"\bmillpond (\w+)([^|)]*)", line):
            usage = millpond(command[0], *re.findall(r"^ (\w[\w-]*)", command[1]), "--help").stdout
            assert [option for option in re.findall(r"--[\w-]+", command[1]) if option not in usage] == []
        for file in re.findall(r"\bpython (\S+\.py)", line):
            assert (_ROOT / file).exists()


def test_tutorial_quotes_its_programs() -> None:
    programs = "".join(path.read_text() for path in sorted((_ROOT / "src/millpond/tutorial").glob("*.py")))
    quotes = _examples("python", "docs/tutorial.md")
    assert quotes
    assert [quote.text for quote in quotes if quote.text not in programs] == []


def test_tutorial_has_the_nine_steps_in_order() -> None:
    steps = re.findall(r"^## Step (\d): ", (_ROOT / "docs/tutorial.md").read_text(), re.MULTILINE)
    assert steps == list("123456789")


def test_program_that_runs_a_tool_of_a_package(server: Server, tmp_path: Path) -> None:
    package = tmp_path / "tool-1.0.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("run.sh", "#!/bin/sh\necho The tool runs\n")
        archive.getinfo("run.sh").external_attr = 0o100755 << 16
    commands = _examples("sh", "docs/applications.md")[0].text.replace("tool-1.0.zip", str(package))
    for command in commands.splitlines():
        done = millpond(*shlex.split(command)[1:], "--data", server.data)
        assert done.returncode == 0, done.stderr
    (example,) = _examples("python", "docs/applications.md")
    script = tmp_path / "example.py"
    script.write_text(example.text)
    assert run_client("tutorial-today", script, env=server.credentials).stdout == "The tool runs\n\n"


def test_program_of_the_readme_runs(server: Server, tmp_path: Path) -> None:
    (example,) = _examples("python", "README.md")
    script = tmp_path / "example.py"
    script.write_text(textwrap.dedent(example.text))
    assert run_client("tutorial-today", script, env=server.credentials).stdout == "Hello from Millpond\n\n"


def test_program_of_tasks_that_wait_for_others_runs(server: Server, tmp_path: Path) -> None:
    (example,) = _examples("python", "docs/tasks.md")
    script = tmp_path / "example.py"
    script.write_text(textwrap.dedent(example.text))
    assert run_client("tutorial-today", script, env=server.credentials).stdout == "ten frames, in order\n\n"
