"""The command ``millpond``. Each command imports what it needs when it runs: the command line itself starts fast."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millpond import __version__

from .blob.app import app as blob_app
from .errors import CommandError
from .options import ConfigOption, DataOption
from .options import settings_of as _settings

if TYPE_CHECKING:
    pass

app = typer.Typer(
    name="millpond",
    help="Azure Batch on your own machines: the Batch service, its Blob storage and compute nodes.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
account_app = typer.Typer(help="The accounts that clients sign their requests with.", no_args_is_help=True)
app.add_typer(account_app, name="account")
packages_app = typer.Typer(help="The application packages that nodes can have.", no_args_is_help=True)
app.add_typer(packages_app, name="app")
app.add_typer(blob_app, name="blob")
explain_app = typer.Typer(
    help="Why something is in its state, and what it waits for. Exit code 3: until somebody does something about it.",
    no_args_is_help=True,
)
app.add_typer(explain_app, name="explain")

KindOption = Annotated[
    Literal["batch", "storage"] | None, typer.Option("--kind", help="Needed where both kinds have the name.")
]
BatchAccountOption = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Batch account.", show_default="the first one")
]
ExplanationFormat = Annotated[Literal["text", "json"], typer.Option("--format", help="How to print it.")]
ApplicationArgument = Annotated[str, typer.Argument(metavar="ID", help="The application.")]


def main() -> None:
    """Run the command line; a command's failure is one line on stderr and exit code 1."""
    try:
        app()
    except CommandError as error:
        sys.exit(f"millpond: {error}")
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"millpond {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    data: DataOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    batch_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of Batch; 0 takes a free one.", show_default="10100")
    ] = None,
    blob_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of Blob; 0 takes a free one.", show_default="10000")
    ] = None,
    blob_workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, metavar="N", help="Processes that answer for Blob.", show_default="one per core, at most 4"
        ),
    ] = None,
    only: Annotated[Literal["batch", "blob"] | None, typer.Option(help="Run this service alone.")] = None,
    isolation: Annotated[
        Literal["auto", "sandbox", "process"] | None,
        typer.Option(help="How nodes are kept apart from this machine.", show_default="auto"),
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option("--tls/--no-tls", help="Speak https, with a local authority's certificate.", show_default="no"),
    ] = None,
    well_known_account: Annotated[
        bool | None,
        typer.Option(
            "--well-known-account/--no-well-known-account",
            help="Serve devstoreaccount1 with its public key, on loopback alone.",
            show_default="no",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Run Millpond until Ctrl-C or SIGTERM.

    Prints one line when it is ready, with the URLs of Batch and Blob and the data directory. Anyone who reaches an
    address other than loopback and has a key can run programs here: --host is for networks that you trust.
    """
    from .serve import serve

    serve(
        _settings(
            config,
            data,
            host=host,
            batch_port=batch_port,
            blob_port=blob_port,
            blob_workers=blob_workers,
            isolation=isolation,
            tls=tls,
            well_known_account=well_known_account,
        ),
        only,
    )


@app.command()
def credentials(
    data: DataOption = None,
    format: Annotated[Literal["table", "env", "json"], typer.Option(help="How to print them.")] = "table",
    batch_account: Annotated[
        str | None, typer.Option(metavar="NAME", help="Batch account.", show_default="the first one")
    ] = None,
    storage_account: Annotated[
        str | None, typer.Option(metavar="NAME", help="Storage account.", show_default="the first one")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print what a client needs: names, keys and URLs of a Batch and a storage account.

    With a server running on the data directory the URLs are its own, else those of the settings. For a shell:
    [bold]eval "$(millpond credentials --format env)"[/bold]
    """
    from .credentials import print_credentials

    print_credentials(_settings(config, data), format, batch_account, storage_account)


@account_app.command("list")
def account_list(
    data: DataOption = None,
    format: Annotated[Literal["table", "json"], typer.Option(help="How to print them.")] = "table",
    config: ConfigOption = None,
) -> None:
    """List the accounts of both kinds (`millpond credentials` prints their keys)."""
    from .accounts import list_accounts

    list_accounts(_settings(config, data), format)


@account_app.command("add")
def account_add(
    name: Annotated[str, typer.Argument(help="3 to 24 lower-case letters and digits.")],
    kind: Annotated[Literal["batch", "storage"], typer.Option("--kind", help="What the account is for.")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Add an account with two new random keys. A running server knows it at once."""
    from .accounts import add_account

    add_account(_settings(config, data), name, kind)


@account_app.command("rotate-key")
def account_rotate_key(
    name: Annotated[str, typer.Argument(help="The account.")],
    key: Annotated[Literal["key1", "key2"], typer.Option("--key", help="Which of its two keys to replace.")] = "key1",
    kind: KindOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Replace one of an account's keys by a new random one. A running server takes it at the next request."""
    from .accounts import rotate_key

    rotate_key(_settings(config, data), name, kind, key)


@account_app.command("token")
def account_token(
    name: Annotated[str | None, typer.Argument(help="The account.", show_default="the first one")] = None,
    kind: Annotated[
        Literal["batch", "storage"], typer.Option("--kind", help="Which service the token is for.")
    ] = "batch",
    new: Annotated[bool, typer.Option("--new", help="Make a new one, in place of the one there is.")] = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Print an account's bearer token, for clients that sign in by a token instead of a key.

    It is made the first time, opens all that a key opens, and does not expire. Blob takes it over https alone.
    """
    from .accounts import print_token

    print_token(_settings(config, data), name, kind, new=new)


@account_app.command("blob")
def account_blob(
    name: Annotated[str, typer.Argument(help="The storage account.")],
    versioning: Annotated[
        bool | None, typer.Option("--versioning/--no-versioning", help="Keep every version of a blob.")
    ] = None,
    container_retention: Annotated[
        int | None, typer.Option(metavar="DAYS", min=0, max=365, help="Days a deleted container can be restored.")
    ] = None,
    last_access: Annotated[
        bool | None, typer.Option("--last-access/--no-last-access", help="Keep when blobs were last read.")
    ] = None,
    immutability: Annotated[
        bool | None, typer.Option("--immutability/--no-immutability", help="Allow immutability policies, legal holds.")
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Show what the Blob service keeps for an account, or change it. A running server takes it at the next request."""
    from .accounts import set_blob_features

    set_blob_features(
        _settings(config, data),
        name,
        versioning=versioning,
        container_retention_days=container_retention,
        last_access_tracking=last_access,
        immutability=immutability,
    )


@packages_app.command("add")
def app_add(
    application: ApplicationArgument,
    version: Annotated[str, typer.Argument(help="Its version.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A zip file, which nodes unpack.")],
    default: Annotated[
        bool, typer.Option("--default", help="Have references without a version mean this one.")
    ] = False,
    display_name: Annotated[str | None, typer.Option(metavar="NAME", help="What clients show.")] = None,
    allow_updates: Annotated[
        bool | None, typer.Option(help="Whether versions may be replaced from now on.", show_default="as it is, or yes")
    ] = None,
    account: BatchAccountOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Add a package, or replace it. Pools and tasks can refer to it at once; nodes that have an older one keep it."""
    from .applications import add_package

    add_package(
        _settings(config, data),
        account,
        application,
        version,
        file,
        is_default=default,
        display_name=display_name,
        allow_updates=allow_updates,
    )


@packages_app.command("list")
def app_list(
    account: BatchAccountOption = None,
    data: DataOption = None,
    format: Annotated[Literal["table", "json"], typer.Option(help="How to print them.")] = "table",
    config: ConfigOption = None,
) -> None:
    """List the packages of an account."""
    from .applications import list_applications

    list_applications(_settings(config, data), account, format)


@packages_app.command("remove")
def app_remove(
    application: ApplicationArgument,
    version: Annotated[str | None, typer.Argument(help="Which of its packages.", show_default="all")] = None,
    account: BatchAccountOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Remove a package, or a whole application. Nodes that have it keep it."""
    from .applications import remove_package

    remove_package(_settings(config, data), account, application, version)


@packages_app.command("set-default")
def app_set_default(
    application: ApplicationArgument,
    version: Annotated[str | None, typer.Argument(help="One of its versions.", show_default="none")] = None,
    account: BatchAccountOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Say which version is meant by references that name none."""
    from .applications import set_default

    set_default(_settings(config, data), account, application, version)


@app.command()
def preempt(
    node: Annotated[str, typer.Argument(help="The id of a low-priority (Spot) node.")],
    seconds: Annotated[int, typer.Option("--for", metavar="SECONDS", min=0, help="How long there is no machine.")] = 30,
    account: BatchAccountOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Take a low-priority node's machine away, as the cloud may at any moment: its tasks run again elsewhere.

    The node is preempted with all that is on it, and comes back by itself when the time is over.
    """
    from .preempt import preempt

    preempt(_settings(config, data), account, node, seconds)


@explain_app.command("task")
def explain_task(
    job: Annotated[str, typer.Argument(metavar="JOB")],
    task: Annotated[str, typer.Argument(metavar="TASK")],
    format: ExplanationFormat = "text",
    account: BatchAccountOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Why a task waits, and for what; what it does, or how it has ended."""
    from .explain import explain

    explain(_settings(config, data), account, ["jobs", job, "tasks", task], f"Task {task} of job {job}", format)


@explain_app.command("job")
def explain_job(
    job: Annotated[str, typer.Argument(metavar="JOB")],
    format: ExplanationFormat = "text",
    account: BatchAccountOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """What a job waits for."""
    from .explain import explain

    explain(_settings(config, data), account, ["jobs", job], f"Job {job}", format)


@explain_app.command("pool")
def explain_pool(
    pool: Annotated[str, typer.Argument(metavar="POOL")],
    format: ExplanationFormat = "text",
    account: BatchAccountOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Why a pool has the nodes that it has, and which of them take no tasks."""
    from .explain import explain

    explain(_settings(config, data), account, ["pools", pool], f"Pool {pool}", format)


@explain_app.command("node")
def explain_node(
    pool_or_node: Annotated[str, typer.Argument(metavar="[POOL] NODE", help="A node's id, or how it begins.")],
    node: Annotated[str | None, typer.Argument(metavar=" ", hidden=True)] = None,
    format: ExplanationFormat = "text",
    account: BatchAccountOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Why a node is in its state. With its pool, the node's id is needed in full; without, its beginning is enough."""
    from .explain import explain

    path = ["nodes", pool_or_node] if node is None else ["pools", pool_or_node, "nodes", node]
    explain(_settings(config, data), account, path, f"Node {path[-1]}", format)


@explain_app.command("schedule")
def explain_schedule(
    schedule: Annotated[str, typer.Argument(metavar="SCHEDULE")],
    format: ExplanationFormat = "text",
    account: BatchAccountOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """What a job schedule waits for until it makes its next job, and when that is due."""
    from .explain import explain

    explain(_settings(config, data), account, ["jobschedules", schedule], f"Job schedule {schedule}", format)


@app.command()
def tutorial(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server running at the end, and print how to reach it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete job and pool without asking.")] = False,
) -> None:
    """Run the whole tutorial on a server of its own: three texts, their most frequent words, found by Batch tasks."""
    from .tutorial import run_tutorial

    run_tutorial(keep=keep, yes=yes)
