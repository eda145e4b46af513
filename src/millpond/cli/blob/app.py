"""The commands of ``millpond blob`` and their options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..options import ConfigOption, DataOption, settings_of

if TYPE_CHECKING:
    from .places import Accounts

app = typer.Typer(
    help="Blobs of this server's accounts (container/path, blob://container/path) and of any other (their URLs).",
    no_args_is_help=True,
)

AccountOption = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Storage account of this server.", show_default="the first one"),
]
ConnectionOption = Annotated[
    str | None,
    typer.Option(
        "--connection-string",
        metavar="TEXT",
        help="The account, on this server or elsewhere.",
        envvar="STORAGE_CONNECTION_STRING",
        show_envvar=True,
    ),
]
RecursiveOption = Annotated[bool, typer.Option("--recursive", "-r", help="Also what is below a name.")]
PlaceArgument = Annotated[str, typer.Argument(metavar="BLOB", help="Container and name, or a URL.")]


@app.command()
def ls(
    place: Annotated[
        str | None, typer.Argument(metavar="BLOB", help="Container, directory or pattern.", show_default="containers")
    ] = None,
    recursive: RecursiveOption = False,
    long: Annotated[bool, typer.Option("--long", "-l", help="With sizes and times.")] = False,
    format: Annotated[Literal["text", "json"], typer.Option(help="json: one object on each line.")] = "text",
    account: AccountOption = None,
    connection_string: ConnectionOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """List containers, or the blobs in one. Patterns: * and ? (not across /), ** (across), \\[abc]."""
    from . import commands

    accounts = _accounts(config, data, account, connection_string)
    commands.ls(accounts, place, recursive=recursive, long=long, format=format)


@app.command()
def cp(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, blobs (blob://…), URLs, patterns.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="File, directory, blob or container.")],
    recursive: RecursiveOption = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Files at the same time.")] = 4,
    account: AccountOption = None,
    connection_string: ConnectionOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Copy files to blobs, blobs to files, and blobs to blobs, of this server (blob://container/path) or of any URL.

    A target that ends with a slash is a directory. What lies below a source keeps its path there.
    """
    from .copying import copy

    accounts = _accounts(config, data, account, connection_string)
    copy(accounts, sources, target, recursive=recursive, jobs=jobs)


@app.command()
def cat(
    places: Annotated[list[str], typer.Argument(metavar="BLOB...", help="Blobs or patterns.")],
    account: AccountOption = None,
    connection_string: ConnectionOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Print blobs, one after the other."""
    from .copying import cat

    cat(_accounts(config, data, account, connection_string), places)


@app.command()
def rm(
    places: Annotated[list[str], typer.Argument(metavar="BLOB...", help="Blobs, patterns, directories, containers.")],
    recursive: RecursiveOption = False,
    account: AccountOption = None,
    connection_string: ConnectionOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Delete blobs with their snapshots; with --recursive also directories and containers."""
    from . import commands

    commands.rm(_accounts(config, data, account, connection_string), places, recursive=recursive)


@app.command()
def sas(
    place: Annotated[
        str | None, typer.Argument(metavar="BLOB", help="Blob or container.", show_default="the account")
    ] = None,
    permissions: Annotated[str, typer.Option("--permissions", "-p", metavar="LETTERS", help="As in rwdl.")] = "r",
    expiry: Annotated[str, typer.Option(metavar="TIME", help="A time, or so long from now: 90m, 1h, 7d.")] = "1d",
    start: Annotated[str | None, typer.Option(metavar="TIME", help="From when on.", show_default="now")] = None,
    account: AccountOption = None,
    connection_string: ConnectionOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Print a URL that opens a blob, a container or the account to whoever has it (a shared access signature)."""
    from . import commands

    accounts = _accounts(config, data, account, connection_string)
    commands.sas(accounts, place, permissions=permissions, expiry=expiry, start=start)


@app.command("mount-hint")
def mount_hint(
    place: PlaceArgument,
    kind: Annotated[
        Literal["blobfuse2", "rclone", "pool"],
        typer.Option("--for", help="A program, or the mountConfiguration of a pool."),
    ] = "blobfuse2",
    directory: Annotated[str, typer.Option(metavar="DIR", help="Where it is to appear.")] = "/mnt/blobs",
    account: AccountOption = None,
    connection_string: ConnectionOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Print how to mount a container as a directory. What it prints has the account's key in it."""
    from . import commands

    commands.mount_hint(_accounts(config, data, account, connection_string), place, kind, directory)


@app.command()
def fsck(
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte, and compare MD5s.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Remove the files that no blob needs.")] = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Check a stopped server's blobs against the files they are in. Exit code 1: something is wrong and stays so."""
    from .fsck import fsck

    fsck(settings_of(config, data), deep=deep, repair=repair)


def _accounts(config: Path | None, data: Path | None, account: str | None, connection_string: str | None) -> Accounts:
    from .places import Accounts

    return Accounts(settings_of(config, data), account, None if account else connection_string)
