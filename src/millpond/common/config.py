"""Settings, the data directory, and the accounts in it."""

from __future__ import annotations

import base64
import hmac
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import platformdirs

from .shared_key import decode_key

Isolation = Literal["auto", "sandbox", "process"]
ContainerRuntime = Literal["auto", "podman", "none"]
AccountKind = Literal["batch", "storage"]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_KINDS: tuple[AccountKind, ...] = ("batch", "storage")

DEFAULT_BATCH_ACCOUNT = "millpond"
DEFAULT_STORAGE_ACCOUNT = "millpondstore"
#: The account that clients mean by ``UseDevelopmentStorage=true``. Its key is public.
WELL_KNOWN_ACCOUNT = "devstoreaccount1"
WELL_KNOWN_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

#: Most processes for Blob where none are asked for. All writes pass through one of them.
_MOST_BLOB_PROCESSES = 4


class VmSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a ``vmSize`` stands for."""

    cores: Annotated[int, msgspec.Meta(ge=1)]
    memory_mib: Annotated[int, msgspec.Meta(ge=1)]


class Quotas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Most of each thing that one Batch account may have; ``None``: any number."""

    pools: Annotated[int, msgspec.Meta(ge=0)] | None = None
    #: Cores of all dedicated and all low-priority nodes, as their ``vmSize`` counts them.
    dedicated_cores: Annotated[int, msgspec.Meta(ge=0)] | None = None
    low_priority_cores: Annotated[int, msgspec.Meta(ge=0)] | None = None
    #: Jobs that are not completed, and job schedules, together.
    active_jobs_and_schedules: Annotated[int, msgspec.Meta(ge=0)] | None = None
    #: Nodes of a pool whose nodes may communicate with each other.
    communicating_nodes: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a server runs: defaults, over a TOML file, over command-line options."""

    #: The data directory: databases, content, node directories, accounts.
    data: Path = msgspec.field(default_factory=lambda: Path(platformdirs.user_data_dir("millpond")))
    #: The address both services listen on. Anything but loopback exposes them.
    host: str = "127.0.0.1"
    #: Ports; 0 takes a free one.
    batch_port: Port = 10100
    blob_port: Port = 10000
    #: Processes that answer requests to Blob; ``None``: one for each processor, four at most.
    blob_workers: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    #: Speak https alone, with certificates of a local authority (``tls/authority.pem`` in the data directory).
    tls: bool = False
    #: Serve the storage account that emulators have, whose key everybody knows; on loopback alone.
    well_known_account: bool = False
    #: Where storage accounts are served, each under its name, if not by this server: for auto-storage.
    blob_url: str | None = None
    #: How a local node keeps its tasks apart from the machine; ``auto`` is ``sandbox`` where the kernel allows it.
    isolation: Isolation = "auto"
    #: What runs tasks in containers on local nodes; ``auto``: podman where it is installed.
    container_runtime: ContainerRuntime = "auto"
    #: Sizes by name (``[vm_sizes.standard_mine]`` in the file), before those that are known.
    vm_sizes: dict[str, VmSize] = {}
    #: Least seconds from one job of a schedule to the next, and least start window; Azure's is a minute.
    shortest_recurrence_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    #: What one account may have (``[quotas]`` in the file).
    quotas: Quotas = Quotas()
    #: Most nodes that this machine carries; a pool that wants more gets a resize error. ``None``: any number.
    most_nodes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    #: Seconds that a pool's ``autoScaleEvaluationInterval`` has at least.
    shortest_evaluation_interval_s: Annotated[float, msgspec.Meta(gt=0, le=300)] = 300.0
    #: Seconds without a word from an agent before its node counts as ``unknown``.
    heartbeat_timeout_s: float = 30.0
    #: Most rows the service keeps ready in memory for one job.
    ready_window: int = 4096

    @property
    def blob_processes(self) -> int:
        """How many processes answer requests to Blob. Where a fork without an exec is no good idea, it is one."""
        if self.blob_workers is not None:
            return self.blob_workers
        return min(len(os.sched_getaffinity(0)), _MOST_BLOB_PROCESSES) if sys.platform == "linux" else 1


def load_settings(file: Path | None, **overrides: object) -> Settings:
    """Settings from an optional TOML file, with the overrides that are not ``None`` on top.

    Raises ``ValueError`` naming the setting that is wrong.
    """
    try:
        values = msgspec.toml.decode(file.read_bytes(), type=dict[str, object]) if file else {}
        values |= {name: value for name, value in overrides.items() if value is not None}
        return msgspec.convert(values, Settings, dec_hook=_to_path)
    except (msgspec.MsgspecError, OSError) as error:
        raise ValueError(str(error)) from error


def _to_path(kind: type, value: object) -> object:
    """``Path`` is the one type of a setting that msgspec does not know."""
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise ValueError(f"Expected a path, got {value!r}")


class AccountKeys(msgspec.Struct, frozen=True):
    """The two keys of an account, base64, as Azure gives them."""

    key1: str
    key2: str

    @staticmethod
    def generate() -> AccountKeys:
        return AccountKeys(new_key(), new_key())


def new_key() -> str:
    """A new random account key: 64 bytes in base64."""
    return base64.b64encode(secrets.token_bytes(64)).decode()


class BlobFeatures(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the Blob service does for an account beyond what every account has."""

    #: Whether every write of a blob makes a version and keeps the one before.
    versioning: bool = False
    #: Days that a deleted container can be restored; 0 for none.
    container_retention_days: Annotated[int, msgspec.Meta(ge=0, le=365)] = 0
    #: Whether blobs tell when they were last read or written.
    last_access_tracking: bool = False
    #: Whether blobs and versions may have immutability policies and legal holds.
    immutability: bool = False


NO_FEATURES = BlobFeatures()


class _AccountsFile(msgspec.Struct):
    batch: dict[str, AccountKeys] = {}
    storage: dict[str, AccountKeys] = {}
    #: Of the storage accounts that have any.
    blob: dict[str, BlobFeatures] = {}
    #: Bearer tokens of Batch accounts that have one.
    tokens: dict[str, str] = {}
    #: Those of storage accounts.
    storage_tokens: dict[str, str] = {}


class Accounts:
    """The accounts file of a data directory (mode 0600), read again whenever it changes.

    So ``millpond account rotate-key`` takes effect on a running server at the next request.
    """

    def __init__(self, data: Path, *, with_well_known: bool = False) -> None:
        """``with_well_known``: :data:`WELL_KNOWN_ACCOUNT` is there too, although the file does not have it."""
        self.path = data / "accounts.json"
        self._file = str(self.path)
        self._with_well_known = with_well_known
        self._stamp: tuple[int, int] | None = None
        self._content = _AccountsFile()
        self._keys: dict[tuple[AccountKind, str], tuple[bytes, bytes]] = {}

    def keys(self, kind: AccountKind, name: str) -> tuple[bytes, bytes] | None:
        """Both keys of an account as bytes, or ``None`` where there is no such account."""
        self._refresh()
        return self._keys.get((kind, name))

    def names(self, kind: AccountKind) -> list[str]:
        self._refresh()
        return list(self._of(kind))

    def auto_storage(self, batch: str) -> str | None:
        """The storage account that a Batch account is linked to: the first one."""
        return next(iter(self.names("storage")), None) if batch in self.names("batch") else None

    def get(self, kind: AccountKind, name: str) -> AccountKeys | None:
        self._refresh()
        return self._of(kind).get(name)

    def put(self, kind: AccountKind, name: str, keys: AccountKeys) -> None:
        """Add an account or replace its keys; complete on disk when it returns."""
        self._refresh()
        self._of(kind)[name] = keys
        self._write()

    def blob_features(self, name: str) -> BlobFeatures:
        self._refresh()
        return self._content.blob.get(name, NO_FEATURES)

    def put_blob_features(self, name: str, features: BlobFeatures) -> None:
        """Complete on disk when it returns, as :meth:`put` is."""
        self._refresh()
        self._content.blob[name] = features
        self._write()

    def _write(self) -> None:
        write_private(self.path, msgspec.json.format(msgspec.json.encode(self._content), indent=2))

    def token(self, batch: str) -> str | None:
        """The Batch account's bearer token, if it has one."""
        self._refresh()
        return self._content.tokens.get(batch)

    def put_token(self, batch: str, token: str) -> None:
        """Give a Batch account a bearer token in place of the one it had; complete on disk when it returns."""
        self._refresh()
        self._content.tokens[batch] = token
        self._write()

    def storage_token(self, name: str) -> str | None:
        """The storage account's bearer token, if it has one."""
        self._refresh()
        return self._content.storage_tokens.get(name) if name in self._content.storage else None

    def put_storage_token(self, name: str, token: str) -> None:
        """As :meth:`put_token`."""
        self._refresh()
        self._content.storage_tokens[name] = token
        self._write()

    def owner(self, token: str) -> str | None:
        """The Batch account with that bearer token; takes as long for any wrong one."""
        self._refresh()
        given = token.encode()
        owners = [name for name, own in self._content.tokens.items() if hmac.compare_digest(own.encode(), given)]
        return owners[0] if owners and owners[0] in self._content.batch else None

    def ensure_defaults(self) -> None:
        """Make one account of each kind where there is none."""
        if not self.names("batch"):
            self.put("batch", DEFAULT_BATCH_ACCOUNT, AccountKeys.generate())
        if not self.names("storage"):
            self.put("storage", DEFAULT_STORAGE_ACCOUNT, AccountKeys.generate())

    def _of(self, kind: AccountKind) -> dict[str, AccountKeys]:
        return self._content.batch if kind == "batch" else self._content.storage

    def _refresh(self) -> None:
        try:
            stat = os.stat(self._file)  # noqa: PTH116 - several times for each request, and pathlib takes thrice as long
        except FileNotFoundError:
            return
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp == self._stamp:
            return
        self._content = msgspec.json.decode(self.path.read_bytes(), type=_AccountsFile)
        self._keys = {}
        for kind in _KINDS:
            for name, keys in self._of(kind).items():
                self._keys[kind, name] = (decode_key(keys.key1), decode_key(keys.key2))
        if self._with_well_known:
            key = decode_key(WELL_KNOWN_KEY)
            self._keys.setdefault(("storage", WELL_KNOWN_ACCOUNT), (key, key))
        self._stamp = stamp


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp: 0600
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)
