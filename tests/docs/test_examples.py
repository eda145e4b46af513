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
from tests.servers import Server, millpond, running_server
from tests.system.nodes import fuse_problem

from millpond.common.config import load_settings

_ROOT = Path(__file__).parents[2]
_PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(page.relative_to(_ROOT)) for page in (_ROOT / "docs").glob("*.md")),
]
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


def test_program_that_scales_a_pool_runs(tmp_path: Path) -> None:
    settings, *_ = _examples("toml", "docs/pools.md")
    (tmp_path / "millpond.toml").write_text(settings.text)
    (example,) = _examples("python", "docs/pools.md")
    script = tmp_path / "example.py"
    script.write_text(example.text)
    with running_server(tmp_path / "data", "--config", str(tmp_path / "millpond.toml")) as server:
        printed = run_client("tutorial-today", script, env=server.credentials).stdout
    assert printed.startswith("$TargetDedicatedNodes=0;$TargetLowPriorityNodes=0;")


@pytest.mark.parametrize(
    "example", _examples("toml", "docs/pools.md"), ids=lambda example: example.text.splitlines()[0]
)
def test_settings_are_settings(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "millpond.toml"
    file.write_text(example.text)
    load_settings(file)


def test_program_of_the_readme_runs(server: Server, tmp_path: Path) -> None:
    (example,) = _examples("python", "README.md")
    script = tmp_path / "example.py"
    script.write_text(textwrap.dedent(example.text))
    assert run_client("tutorial-today", script, env=server.credentials).stdout == "Hello from Millpond\n\n"


def test_program_of_job_schedules_runs(server: Server, tmp_path: Path) -> None:
    (example,) = _examples("python", "docs/job-schedules.md")
    script = tmp_path / "example.py"
    script.write_text(example.text)
    assert run_client("tutorial-today", script, env=server.credentials).stdout == "Hello from hourly:job-1\n\n"


def test_program_of_job_tasks_runs(server: Server, tmp_path: Path) -> None:
    (example,) = _examples("python", "docs/job-tasks.md")
    script = tmp_path / "example.py"
    script.write_text(example.text)
    printed = run_client("tutorial-today", script, env=server.credentials).stdout
    assert printed == "flour\n\n0 0\n"


@pytest.mark.skipif(bool(fuse_problem()), reason=fuse_problem() or "none")
def test_program_that_mounts_a_container_runs(server: Server, tmp_path: Path) -> None:
    (example,) = _examples("python", "docs/mounts.md")
    script = tmp_path / "example.py"
    script.write_text(example.text)
    assert run_client("tutorial-today", script, env=server.credentials).stdout == "3\n\n"


def test_program_of_tasks_that_wait_for_others_runs(server: Server, tmp_path: Path) -> None:
    (example,) = _examples("python", "docs/tasks.md")
    script = tmp_path / "example.py"
    script.write_text(textwrap.dedent(example.text))
    assert run_client("tutorial-today", script, env=server.credentials).stdout == "ten frames, in order\n\n"


#: Tasks to be followed, one after another until the program has seen one.
_FOLLOWED = """
import os, threading, time
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential

client = BatchClient(
    os.environ["BATCH_ACCOUNT_URL"],
    AzureNamedKeyCredential(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"]),
)
image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
machines = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
client.create_pool(
    models.BatchPoolCreateOptions(
        id="events", vm_size="standard_a1_v2", virtual_machine_configuration=machines, target_dedicated_nodes=1
    )
)
client.create_job(models.BatchJobCreateOptions(id="followed", pool_info=models.BatchPoolInfo(pool_id="events")))


def add_tasks():
    for number in range(60):
        client.create_task("followed", models.BatchTaskCreateOptions(id=f"task{number}", command_line="true"))
        time.sleep(1)


threading.Thread(target=add_tasks, daemon=True).start()
"""


def test_program_that_follows_changes_runs(server: Server, tmp_path: Path) -> None:
    (example,) = _examples("python", "docs/events.md")
    script = tmp_path / "example.py"
    script.write_text(_FOLLOWED + example.text)
    printed = run_client("tutorial-today", script, env=server.credentials).stdout.splitlines()
    assert re.fullmatch(r"task\d+ completed", printed[-1])


#: A job that runs, for tasks to be measured.
_MEASURED = """
import os, time
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential

client = BatchClient(
    os.environ["BATCH_ACCOUNT_URL"],
    AzureNamedKeyCredential(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"]),
)
image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
machines = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
client.create_pool(
    models.BatchPoolCreateOptions(
        id="measured", vm_size="standard_a1_v2", virtual_machine_configuration=machines, target_dedicated_nodes=1
    )
)
client.create_job(models.BatchJobCreateOptions(id="measured", pool_info=models.BatchPoolInfo(pool_id="measured")))
"""


def test_program_that_asks_what_was_used_runs(server: Server, tmp_path: Path) -> None:
    (example,) = _examples("python", "docs/statistics.md")
    script = tmp_path / "example.py"
    script.write_text(_MEASURED + example.text)
    printed = run_client("tutorial-today", script, env=server.credentials).stdout
    assert re.fullmatch(r"0:00:00\.\d+ 1 0:00:\d\d(\.\d+)?\n", printed)


#: A task that waits for a pool that is not there.
_EXPLAINED = """
import os
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential

client = BatchClient(
    os.environ["BATCH_ACCOUNT_URL"],
    AzureNamedKeyCredential(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"]),
)
client.create_job(models.BatchJobCreateOptions(id="film", pool_info=models.BatchPoolInfo(pool_id="farm")))
client.create_task("film", models.BatchTaskCreateOptions(id="render-7", command_line="true"))
"""


def test_program_that_asks_why_runs(server: Server, tmp_path: Path) -> None:
    (example,) = _examples("python", "docs/explain.md")
    script = tmp_path / "example.py"
    script.write_text(_EXPLAINED + example.text)
    printed = run_client("tutorial-today", script, env=server.credentials).stdout
    assert printed.startswith("active True\nPoolNotFound There is no pool farm.")


def test_commands_of_the_blob_page_run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.txt").write_text("hello")
    printed = []
    for command in _examples("sh", "docs/blob-command.md")[0].text.splitlines():
        done = millpond(*shlex.split(command)[1:], "--data", server.data)
        assert (done.returncode, done.stderr) == (0, "")
        printed.append(done.stdout)
    assert (tmp_path / "texts" / "a.txt").read_text() == "hello"
    assert printed[3] == "hello"
