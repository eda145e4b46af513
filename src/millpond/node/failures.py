"""How the node words what went wrong with a task (``failureInfo``), and what it will not do."""

from __future__ import annotations

from typing import Literal

from millpond.common.agent_protocol import FailureInfo, Membership

#: With which a container runtime says that there is no such command in the image, or that it cannot be run.
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
#: What goes wrong with files and is not the task's own fault, as the service tells them apart.
_SERVER_ERRORS = frozenset(
    {
        "BlobDownloadTimedOut",
        "BlobDownloadMiscError",
        "ResourceContainerListTimedOut",
        "ResourceContainerListMiscError",
        "ResourceDirectoryCreateFailed",
        "ResourceFileCreateFailed",
        "ResourceFileWriteFailed",
        "FileUploadTimedOut",
        "FileUploadMiscError",
    }
)


class RefusedError(Exception):
    """``code`` is the ``error`` of an :class:`~millpond.common.agent_protocol.ActionReply`."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message)
        self.code = code


def category_of(code: str) -> Literal["usererror", "servererror"]:
    return "servererror" if code in _SERVER_ERRORS else "usererror"


def exit_code_failure(exit_code: int) -> FailureInfo:
    return FailureInfo(
        "usererror",
        "FailureExitCode",
        "The task exited with an exit code representing a failure",
        (("Message", f"The task exited with an exit code representing a failure ({exit_code})"),),
    )


def coordination_failed(exit_code: int, membership: Membership | None) -> FailureInfo:
    where = f"subtask {membership.number}" if membership and membership.number else "the primary"
    return FailureInfo(
        "usererror",
        "FailureExitCode",
        "The task exited with an exit code representing a failure",
        (("Message", f"The coordination command of {where} exited with a code representing a failure ({exit_code})"),),
    )


def program_not_found(program: str) -> FailureInfo:
    return FailureInfo(
        "usererror",
        "CommandProgramNotFound",
        "The specified command program is not found",
        (("Message", "The system cannot find the file specified"), ("Program", program)),
    )


def launch_failed(message: str) -> FailureInfo:
    return FailureInfo("usererror", "CommandLaunchFailed", "The command could not be launched", (("Message", message),))


def directory_failed(error: OSError) -> FailureInfo:
    return FailureInfo(
        "servererror",
        "ResourceDirectoryCreateFailed",
        "The task's directory could not be created",
        (("Message", str(error)),),
    )


def package_failed(details: tuple[tuple[str, str], ...]) -> FailureInfo:
    return FailureInfo("usererror", "ApplicationPackageError", "An application package could not be installed", details)


def certificate_failed(message: str) -> FailureInfo:
    return FailureInfo(
        "servererror", "CertificateError", "A certificate could not be installed", (("Message", message),)
    )


def mount_failed(message: str) -> FailureInfo:
    return FailureInfo(
        "usererror",
        "Mount Configuration Error",
        "An error was encountered while configuring specified mount(s)",
        (("Message", message),),
    )


def unknown_user(name: str) -> FailureInfo:
    return FailureInfo(
        "usererror",
        "CommandLaunchFailed",
        "The command could not be launched",
        (("Message", f"The user account that the task names does not exist on the node: {name}"),),
    )


def containers_not_supported() -> FailureInfo:
    return FailureInfo(
        "usererror", "ContainerPoolNotSupported", "The compute node does not support container tasks on this pool"
    )


def container_runtime_missing() -> FailureInfo:
    return FailureInfo(
        "usererror",
        "ContainerPoolNotSupported",
        "The compute node does not support containers",
        (("Message", "This machine has no podman that its nodes could use"),),
    )


def container_settings_missing() -> FailureInfo:
    return _container_settings("Tasks on a pool with containers must have containerSettings")


def container_not_created(message: str) -> FailureInfo:
    return _container_settings(message or "The container could not be created")


def container_not_started(exit_code: int, message: str) -> FailureInfo:
    """``exit_code``: the container runtime's own."""
    if exit_code == _NOT_FOUND:
        details = (("Message", message),)
        return FailureInfo("usererror", "CommandProgramNotFound", "The specified command program is not found", details)
    if exit_code == _NOT_EXECUTABLE:
        return launch_failed(message)
    return _container_settings(message or "The container could not be started")


def container_image_failed(image: str, message: str) -> FailureInfo:
    details = (("ImageName", image), ("Message", message[-1000:]))
    return FailureInfo("usererror", "ContainerInvalidImage", "The container image could not be pulled", details)


def container_registry_failed(server: str, message: str) -> FailureInfo:
    details = (("RegistryServer", server), ("Message", message[-1000:]))
    return FailureInfo("usererror", "ContainerInvalidRegistry", "The container registry refuses the login", details)


def container_runtime_failed(message: str) -> FailureInfo:
    details = (("Message", message[-1000:]),)
    return FailureInfo("servererror", "ContainerMiscError", "The container runtime has failed", details)


def _container_settings(message: str) -> FailureInfo:
    return FailureInfo(
        "usererror",
        "ContainerInvalidSettings",
        "At least one value of specified task container settings is invalid",
        (("Message", message[-1000:]),),
    )


def ended_by_user() -> FailureInfo:
    return FailureInfo("usererror", "TaskEnded", "Task Was Ended by User Request")


def time_limit_reached(seconds: float) -> FailureInfo:
    return FailureInfo(
        "servererror",
        "TaskEnded",
        "The task ran longer than its maximum wall-clock time",
        (("MaxWallClockTimeSeconds", f"{seconds:g}"),),
    )
