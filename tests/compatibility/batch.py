"""Which method of which generation of the SDK does what: found by calling each of them against a running server."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from tests.clients import run_client
from tests.servers import Server, millpond

from .pages import LEGEND, mark, refusal, refused, table

_HERE = Path(__file__).parent
_OPERATIONS = json.loads((_HERE.parent / "reference" / "operations.json").read_text())["operations"]

#: A release of azure-batch of each generation; the last is of the other family of SDKs.
GENERATIONS = ("2.0.0", "3.1.0", "4.1.3", "6.0.1", "8.0.0", "10.0.0", "14.2.0", "15.1.0")
NEWEST = GENERATIONS[-1]

#: What the server is to be started with.
SERVER_OPTIONS: tuple[str, ...] = ()
PAGE = _HERE.parents[1] / "docs" / "reference" / "compatibility.md"

APPLICATION = "tool"
#: A certificate without anything to keep secret: ``CN=millpond test`` and its SHA-1.
_CERTIFICATE = json.loads((_HERE / "certificate.json").read_text())


class Cell(NamedTuple):
    """An operation that a release of the SDK has, and the name of its method."""

    operation: str
    generation: str
    method: str


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _has(releases: str, generation: str) -> bool:
    first, _, last = releases.partition("..")
    return _number(first) <= _number(generation) <= _number(last or first)


def cells() -> list[Cell]:
    """Every operation of every generation, in order of operations."""
    return [
        Cell(operation, generation, method)
        for operation, entry in sorted(_OPERATIONS.items())
        for generation in GENERATIONS
        for method, releases in entry["sdk"].items()
        if _has(releases, generation)
    ]


def prepare(server: Server, directory: Path) -> dict[str, str]:
    """Put into the server what a client cannot make by the SDK; returns the environment of the client programs."""
    package = directory / "tool.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("tool.txt", "a tool")
    added = millpond("app", "add", APPLICATION, "1.0", package, "--data", server.data)
    assert added.returncode == 0, added.stderr
    return {
        **server.credentials,
        "APPLICATION": APPLICATION,
        "CONTAINER_URL": _container_url(server, "logs"),
        "CERTIFICATE_DATA": _CERTIFICATE["data"],
        "CERTIFICATE_THUMBPRINT": _CERTIFICATE["thumbprint"],
    }


def _container_url(server: Server, name: str) -> str:
    """The URL of a new container, with a SAS that lets blobs be written."""
    account, key = server.credentials["STORAGE_ACCOUNT_NAME"], server.credentials["STORAGE_ACCOUNT_KEY"]
    with BlobServiceClient(server.blob_url, credential={"account_name": account, "account_key": key}) as client:
        client.create_container(name)
    sas = generate_container_sas(
        account,
        name,
        account_key=key,
        permission=ContainerSasPermissions(write=True),
        expiry=datetime.now(UTC) + timedelta(hours=2),
    )
    return f"{server.blob_url}/{name}?{sas}"


def outcomes(generation: str, environment: Mapping[str, str]) -> dict[str, str]:
    """By method of this generation: ``ok``, ``refused: why``, or what went wrong."""
    program = _HERE / "clients" / ("second_family.py" if generation == NEWEST else "first_family.py")
    name = f"v{generation.replace('.', '-')}"
    done = run_client(f"batch-{generation}", program, name, env=environment, timeout_s=300)
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- the page ---

_INTRODUCTION = f"""\
# Compatibility: the Batch API by operations and SDKs

Each cell stands for a method of a release of `azure-batch`, called by a program of its time against a running server,
which then looks for the method's effect. `make compatibility` runs the programs and writes this page; the slow tests
run them, too, and fail where the page says something else.

{LEGEND}"""


def page(found: Mapping[str, Mapping[str, str]]) -> str:
    """The page, from the outcomes by generation and method."""
    rows: dict[str, dict[str, str]] = {operation: {} for operation in sorted(_OPERATIONS)}
    refusals: dict[str, str] = {}
    for operation, generation, method in cells():
        outcome = found[generation].get(method, "not called")
        rows[operation][generation] = mark(outcome)
        if reason := refusal(outcome):
            refusals[operation] = reason
    return "\n".join([_INTRODUCTION, *table("operation", GENERATIONS, rows), *refused(refusals)]) + "\n"
