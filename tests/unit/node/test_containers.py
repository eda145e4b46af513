"""What is said to the container runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from millpond.node.container_host import ContainerHost
from millpond.node.containers import Container, Containers, Places, find_runtime, full_name
from millpond.node.documents import ContainerSettings
from millpond.node.users import Credentials, User

_TASK = "/root/workitems/job/job-1/task"
_ENVIRONMENT = {"PATH": "/bin", "PWD": "/here", "A": "1", "AZ_BATCH_JOB_PREP_DIR": "/root/workitems/job/job-1/prep"}


def _words(place: Path, command_line: str = "", *, own: frozenset[str] = frozenset(), **settings: Any) -> list[str]:
    nobody = cast(ContainerHost, None)  # nothing is run
    containers = Containers(nobody, "/usr/bin/podman", Path("/root"), Places(place, place, "/group"))
    user = User("me", "PoolNonAdmin", "me", Credentials(7, 8, (8, 9)))
    container = Container(
        msgspec.convert({"imageName": "image", **settings}, ContainerSettings),
        command_line,
        _TASK,
        _TASK,
        user,
        _ENVIRONMENT,
        own,
    )
    return containers.words(container, place)


def _pairs(words: list[str], option: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == option]


def test_containers_run_as_the_task_would(tmp_path: Path) -> None:
    words = _words(tmp_path, "/bin/sh -c 'echo $A'")
    assert words[0] == "run"
    assert words[-3:] == ["image", "-c", "echo $A"]
    assert _pairs(words, "--entrypoint") == ["/bin/sh"]
    assert _pairs(words, "--user") == ["7:8"]
    assert _pairs(words, "--group-add") == ["8", "9"]
    assert _pairs(words, "--volume") == ["/root:/root"]
    assert _pairs(words, "--workdir") == [f"{_TASK}/wd"]
    assert "--network=host" in words
    assert "--cgroup-parent=/group" in words


def test_empty_command_lines_leave_it_to_the_image(tmp_path: Path) -> None:
    words = _words(tmp_path)
    assert words[-1] == "image"
    assert "--entrypoint" not in words


def test_options_come_last_and_may_name_a_network(tmp_path: Path) -> None:
    words = _words(tmp_path, containerRunOptions="--net bridge --env 'B=2 3'")
    assert words[-5:] == ["--net", "bridge", "--env", "B=2 3", "image"]
    assert "--network=host" not in words
    with pytest.raises(ValueError, match="quotation"):
        _words(tmp_path / "other", containerRunOptions="--env 'B")


def test_variables_are_in_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    (file,) = _pairs(_words(tmp_path), "--env-file")
    assert Path(file).stat().st_mode & 0o777 == 0o600
    assert Path(file).read_text() == "A=1\nAZ_BATCH_JOB_PREP_DIR=/root/workitems/job/job-1/prep\n"
    Path(file).unlink()
    _words(tmp_path, own=frozenset({"PATH"}))
    assert "PATH=/bin\n" in Path(file).read_text()


@pytest.mark.parametrize(
    ("mounts", "volumes", "sees_task"),
    [
        ([], [], False),
        ([{"source": "Task"}], [f"{_TASK}:{_TASK}"], True),
        ([{"source": "shared", "isReadOnly": True}], ["/root/shared:/root/shared:ro"], False),
        (
            [{"source": "VfsMounts"}, {"source": "Startup"}],
            ["/root/fsmounts:/root/fsmounts", "/root/startup:/root/startup"],
            False,
        ),
        ([{"source": "JobPrep"}], ["/root/workitems/job/job-1/prep:/root/workitems/job/job-1/prep"], False),
        ([{"source": "Applications"}], ["/root/applications:/root/applications"], False),
    ],
)
def test_mounts(tmp_path: Path, mounts: list[Any], volumes: list[str], sees_task: bool) -> None:
    words = _words(tmp_path, containerHostBatchBindMounts=mounts)
    assert _pairs(words, "--volume") == volumes
    assert ("--workdir" in words) is sees_task


def test_images_may_say_where_their_commands_run(tmp_path: Path) -> None:
    assert "--workdir" not in _words(tmp_path, workingDirectory="containerImageDefault")


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("busybox", "docker.io/library/busybox"),
        ("me/image:1", "docker.io/me/image:1"),
        ("quay.io/me/image", "quay.io/me/image"),
        ("localhost/image", "localhost/image"),
        ("server:5000/image", "server:5000/image"),
    ],
)
def test_names_of_images(image: str, name: str) -> None:
    assert full_name(image) == name


def test_no_runtime_where_none_is_wanted() -> None:
    assert find_runtime("none", is_sandboxed=False) == ""
