"""Which method of which age of the Blob libraries does what: found by calling each of them against a running server.

The server has https: tokens, keys of customers and batches of some libraries do not go over http. (That the libraries
work over http as well, ``wire/blob/test_clients.py`` says.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from tests.clients import run_client
from tests.servers import Server, millpond

from millpond.common.authority import authority_file

from .pages import LEGEND, mark, refusal, refused, table

_HERE = Path(__file__).parent
_CLIENTS = _HERE / "clients"

#: Releases of the libraries, the sets ``blob-…`` of ``venvs.toml``, by the program that calls their methods.
_FAMILIES = {
    "blob_services": ("0.34.3", "0.36.0", "0.37.1", "2.1.0"),
    "blob_clients": ("12.0.0", "12.8.1", "12.19.1", "newest"),
}
GENERATIONS = tuple(generation for generations in _FAMILIES.values() for generation in generations)

#: What the server is to be started with.
SERVER_OPTIONS = ("--only", "blob", "--tls")
PAGE = _HERE.parents[1] / "docs" / "reference" / "blob-compatibility.md"

#: An account that keeps versions and deleted containers, and may have blobs that are immutable.
_KEPT = "keptaccount"


def prepare(server: Server, _: Path) -> dict[str, str]:
    """Put into the server what a client cannot make; returns the environment of the client programs."""
    data = ("--data", server.data)
    _told("account", "add", _KEPT, "--kind", "storage", *data)
    _told("account", "blob", _KEPT, "--versioning", "--immutability", "--container-retention", "7", *data)
    credentials = _told("credentials", "--storage-account", _KEPT, "--format", "json", *data)
    kept = msgspec.json.decode(credentials, type=dict[str, str])
    return {
        **_account(server.credentials),
        **{f"KEPT_{name}": value for name, value in _account(kept).items()},
        "TOKEN": _told("account", "token", "--kind", "storage", *data).strip(),
        "REQUESTS_CA_BUNDLE": str(authority_file(server.data)),
        "PYTHONPATH": str(_CLIENTS),
    }


def _told(*arguments: str | Path) -> str:
    done = millpond(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _account(credentials: Mapping[str, str]) -> dict[str, str]:
    names = {"ACCOUNT": "NAME", "KEY": "KEY", "URL": "URL"}
    return {name: credentials[f"STORAGE_ACCOUNT_{told}"] for name, told in names.items()}


def outcomes(generation: str, environment: Mapping[str, str]) -> dict[str, str]:
    """By every method of this generation's clients: ``ok``, ``refused: why``, or what went wrong."""
    program = next(program for program, generations in _FAMILIES.items() if generation in generations)
    name = {"NAME": f"v{generation.replace('.', '-')}"}
    done = run_client(f"blob-{generation}", _CLIENTS / program, env={**name, **environment}, timeout_s=300)
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- the page ---

_INTRODUCTION = f"""\
# Compatibility: the Blob service by methods and libraries

Each cell stands for a public method of a release of `azure-storage` (to 0.36) or `azure-storage-blob`, called by a
program of its time against a running server, which then looks for the method's effect. Every method that sends a
request is here, as the class that defines it has it. `make compatibility-blob` runs the programs and writes this page;
the slow tests run them, too, and fail where the page says something else, or where a library has a method that no
program calls.

{LEGEND}"""

_LIMITS = """
What libraries themselves do not do, whatever the service (the programs leave it out):

- 0.34 to 2.1: an empty blob is not downloaded with `validate_content`; sums of `Include` values ask for nothing.
- 0.34 to 0.37: names of metadata come back in lower case; a range that ends at 0 is taken for one without an end; the
  second page of a list drops the account from the path (the service finds it by the signature).
- 0.34 and 0.36: an upload of a stream in large blocks over one connection reads more than each block.
- 0.34: a stream is uploaded whole where a count of 0 is asked for.
- 12.0: names in batches are not encoded, metadata is not sent with block lists.
- 12.0 and 12.8: generators are not uploaded, nor is anything empty with `validate_content`; a range of a blob that the
  client encrypted loses bytes unless it begins at a multiple of 16.
- 12.8 and 12.19: incremental copies fail before they are sent; metadata is not sent with Put Blob From URL.
- 12.8 and later: `delete_blobs` fails with `lease`, and takes a `lease_id` for each blob.
- 12.0 to 12.19: when a copy has ended is not told.
- 12: statistics of the secondary endpoint are asked for only where hosts name accounts (`NAME.blob.localhost`).
- 12: an empty generator that is uploaded over several connections never ends.
"""


def _release(generation: str) -> str:
    """The version that the set of a generation has."""
    lock = (_HERE.parent / "venvs" / f"blob-{generation}.txt").read_text()
    return next(line.partition("==")[2] for line in lock.splitlines() if re.match("azure-storage(-blob)?==", line))


def page(found: Mapping[str, Mapping[str, str]]) -> str:
    """The page, from the outcomes by generation and method."""
    lines = [_INTRODUCTION]
    refusals: dict[str, str] = {}
    for generations in _FAMILIES.values():
        rows: dict[str, dict[str, str]] = {}
        for generation in generations:
            for method, outcome in found[generation].items():
                rows.setdefault(method, {})[generation] = mark(outcome)
                if reason := refusal(outcome):
                    refusals[method] = reason
        columns = {generation: _release(generation) for generation in generations}
        marks = {f"`{name}`": {columns[one]: mark for one, mark in rows[name].items()} for name in sorted(rows)}
        lines += [*table("method", columns.values(), marks), ""]
    lines += refused({f"`{name}`": why for name, why in refusals.items()})[1:]
    return "\n".join([*lines, _LIMITS])
