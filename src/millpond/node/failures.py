"""How the node words what went wrong with a task (``failureInfo``), and what it will not do."""

from __future__ import annotations

from millpond.common.agent_protocol import FailureInfo, Membership


class RefusedError(Exception):
    """``code`` is the ``error`` of an :class:`~millpond.common.agent_protocol.ActionReply`."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message)
        self.code = code


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
    return FailureInfo(
        "servererror", "ApplicationPackageError", "An application package could not be installed", details
    )


def certificate_failed(message: str) -> FailureInfo:
    return FailureInfo(
        "servererror", "CertificateError", "A certificate could not be installed", (("Message", message),)
    )


def unknown_user(name: str) -> FailureInfo:
    return FailureInfo(
        "usererror",
        "CommandLaunchFailed",
        "The command could not be launched",
        (("Message", f"The user account that the task names does not exist on the node: {name}"),),
    )


def containers_not_supported(pool_has_containers: bool) -> FailureInfo:
    if pool_has_containers:
        return FailureInfo(
            "usererror",
            "ContainerMiscError",
            "The container could not be started",
            (("Message", "This compute node has no container runtime"),),
        )
    return FailureInfo(
        "usererror", "ContainerPoolNotSupported", "The compute node does not support container tasks on this pool"
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
