"""The tutorial as its readers of four ages wrote it, each with the libraries of its time; and ``millpond tutorial``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from tests.clients import run_client
from tests.servers import Server

_TUTORIALS = Path(__file__).parent / "tutorials"
_TODAY = Path(__file__).parents[2] / "src" / "millpond" / "tutorial"
_TEXTS = _TODAY / "data"
#: Each installs its library on the nodes, some over a slow network.
_TIMEOUT_S = 300

#: What the console shows, in order; paths, times and node names vary.
_CONSOLE = [
    r"Sample start: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    r"Uploading file .*/python_tutorial_task\.py to container \[application\]\.\.\.",
    r"Uploading file .*/taskdata1\.txt to container \[input\]\.\.\.",
    r"Uploading file .*/taskdata2\.txt to container \[input\]\.\.\.",
    r"Uploading file .*/taskdata3\.txt to container \[input\]\.\.\.",
    r"Creating pool \[PythonTutorialPool\]\.\.\.",
    r"Creating job \[PythonTutorialJob\]\.\.\.",
    r"Adding 3 tasks to job \[PythonTutorialJob\]\.\.\.",
    r"Monitoring all tasks for 'Completed' state, timeout in 0:20:00\.\.\.\.+",
    r"  Success! All tasks reached the 'Completed' state within the specified timeout period\.",
    r"Downloading all files from container \[output\]\.\.\.",
    r"  Downloaded blob \[taskdata1_OUTPUT\.txt\] from container \[output\] to .*/taskdata1_OUTPUT\.txt",
    r"  Downloaded blob \[taskdata2_OUTPUT\.txt\] from container \[output\] to .*/taskdata2_OUTPUT\.txt",
    r"  Downloaded blob \[taskdata3_OUTPUT\.txt\] from container \[output\] to .*/taskdata3_OUTPUT\.txt",
    r"  Download complete!",
    r"Deleting containers\.\.\.",
    r"Sample end: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    r"Elapsed time: \d:\d\d:\d\d",
]

pytestmark = pytest.mark.timeout(_TIMEOUT_S)


def _assert_console(output: str) -> None:
    expected = iter(_CONSOLE)
    wanted = next(expected)
    for line in output.splitlines():
        if re.fullmatch(wanted, line):
            wanted = next(expected, "")
    assert not wanted, f"no line {wanted!r} in:\n{output}"


def _assert_results(directory: Path) -> None:
    """The three most frequent words of each text with their counts, counted here in another way, and a node."""
    for text in sorted(_TEXTS.glob("*.txt")):
        *rows, rule, node = (directory / f"{text.stem}_OUTPUT.txt").read_text().splitlines()[:5]
        counts = Counter(re.sub(r"[^a-z']", " ", text.read_text().lower()).split())
        highest = sorted(counts.values(), reverse=True)[:3]
        assert [int(row.split()[1]) for row in rows] == highest
        assert [counts[row.split()[0]] for row in rows] == highest
        assert set(rule) == {"-"}
        assert re.fullmatch(r"Node: [\w-]+", node)


def _assert_nothing_is_left(server: Server) -> None:
    """What the programs delete at their end is gone, or on its way."""
    from azure.batch import BatchClient
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(server.credentials["STORAGE_CONNECTION_STRING"]) as storage:
        assert list(storage.list_containers()) == []
    credential = AzureNamedKeyCredential(
        server.credentials["BATCH_ACCOUNT_NAME"], server.credentials["BATCH_ACCOUNT_KEY"]
    )
    with BatchClient(server.batch_url, credential) as batch:
        assert [job.state for job in batch.list_jobs() if job.state != "deleting"] == []
        assert [pool.state for pool in batch.list_pools() if pool.state != "deleting"] == []


_PROGRAMS: dict[str, list[str | Path]] = {
    "tutorial-2017-early": [_TUTORIALS / "2017" / "python_tutorial_client.py", _TEXTS],
    "tutorial-2017": [_TUTORIALS / "2017" / "python_tutorial_client.py", _TEXTS],
    "tutorial-2024": [
        _TUTORIALS / "2024" / "python_tutorial_client.py",
        _TODAY / "python_tutorial_task.py",
        _TEXTS,
    ],
    "tutorial-today": [_TODAY / "python_tutorial_client.py", "--yes"],
}


@pytest.mark.parametrize("age", _PROGRAMS)
def test_tutorial_of_every_age_runs_unmodified(own_server: Server, tmp_path: Path, age: str) -> None:
    program = _PROGRAMS[age]
    arguments = program if age == "tutorial-today" else [*program, tmp_path]
    # Today's program downloads into the home directory, as the original does.
    done = run_client(age, *arguments, env={**own_server.credentials, "HOME": str(tmp_path)}, timeout_s=_TIMEOUT_S)
    _assert_console(done.stdout)
    _assert_results(tmp_path)
    _assert_nothing_is_left(own_server)


def _tutorial(temporary: Path, *options: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the command, with everything that it makes in a directory of its own."""
    temporary.mkdir()
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "millpond.cli", "tutorial", *options],
        env={**os.environ, "TMPDIR": str(temporary), "HOME": str(temporary), **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run_tutorial(temporary: Path, *options: str, answers: str = "") -> str:
    command = _tutorial(temporary, *options)
    output, errors = command.communicate(answers, timeout=_TIMEOUT_S)
    assert (command.returncode, errors) == (0, ""), output
    return output


def _processes_of(directory: Path) -> list[psutil.Process]:
    """All processes that were told of the directory, on their command line or in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(str(directory) in text for text in told):
            found.append(process)
    return found


def test_command_shows_the_results_and_leaves_nothing_behind(tmp_path: Path) -> None:
    output = _run_tutorial(tmp_path / "tmp", "--yes")
    _assert_console(output)
    for text in sorted(_TEXTS.glob("*.txt")):
        assert re.search(rf"^{text.stem}_OUTPUT\.txt:\nthe +\d+$", output, re.MULTILINE)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert _processes_of(tmp_path) == []


def test_command_says_why_a_start_task_failed(tmp_path: Path) -> None:
    nothing_to_install = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    command = _tutorial(tmp_path / "tmp", "--yes", env=nothing_to_install)
    _, errors = command.communicate(timeout=_TIMEOUT_S)
    assert command.returncode == 1
    assert re.match(r"millpond: ERROR: The start task failed on node [\w-]+:\n", errors)
    assert "No matching distribution found for azure-storage-blob" in errors
    assert list((tmp_path / "tmp").iterdir()) == []
    assert _processes_of(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_command_that_is_interrupted_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    command = _tutorial(tmp_path / "tmp", "--yes")
    assert command.stdout is not None
    assert any(line.startswith("Adding") for line in command.stdout)
    command.send_signal(number)
    command.communicate(timeout=_TIMEOUT_S)
    assert command.returncode not in (0, -number)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert _processes_of(tmp_path) == []


def test_command_asks_before_it_deletes_and_keeps_the_server(tmp_path: Path) -> None:
    output = _run_tutorial(tmp_path / "tmp", "--keep", answers="perhaps\nno\nn\n")
    assert output.count("Delete job? [Y/n]") == 2
    assert output.count("Delete pool? [Y/n]") == 1
    credentials = dict(re.findall(r"^([A-Z_]+) +(\S+)$", output, re.MULTILINE))
    match = re.search(r"kill (\d+) && rm -r (\S+)", output)
    assert match
    supervisor = psutil.Process(int(match[1]))
    try:
        from azure.batch import BatchClient
        from azure.core.credentials import AzureNamedKeyCredential

        credential = AzureNamedKeyCredential(credentials["BATCH_ACCOUNT_NAME"], credentials["BATCH_ACCOUNT_KEY"])
        with BatchClient(credentials["BATCH_ACCOUNT_URL"], credential) as batch:
            assert [job.id for job in batch.list_jobs()] == ["PythonTutorialJob"]
            assert [pool.id for pool in batch.list_pools()] == ["PythonTutorialPool"]
    finally:
        supervisor.terminate()
        psutil.wait_procs([supervisor], timeout=10)
    assert _processes_of(tmp_path) == []
