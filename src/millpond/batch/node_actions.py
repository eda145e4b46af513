"""What connected nodes do for the asking: users who log in, and logs. Nothing of it is kept by the service."""

from __future__ import annotations

from millpond.common.agent_protocol import (
    ActionReply,
    ActionRequest,
    DeleteUser,
    DescribeLogin,
    PutUser,
    UploadLogs,
)
from millpond.common.errors import ServiceError

from .agents import Agents
from .errors import error


class NodeActions:
    """All raise :class:`ServiceError`: ``NodeNotReady`` (not connected, or no answer), ``OperationNotValidOnNode``
    (nothing that the node could do), and their own."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    async def put_user(self, node: str, user: PutUser) -> None:
        """Raises ``NodeUserExists``, or ``NodeUserNotFound`` where the user should be replaced."""
        await self._do(node, user)

    async def delete_user(self, node: str, name: str) -> None:
        """Raises ``NodeUserNotFound``."""
        await self._do(node, DeleteUser(name))

    async def login_port(self, node: str) -> int:
        """Where the node's SSH server listens, at the node's address."""
        return (await self._do(node, DescribeLogin())).port

    async def upload_logs(self, node: str, upload: UploadLogs) -> int:
        """How many files were uploaded. Raises ``InvalidPropertyValue``: the container does not take them."""
        return (await self._do(node, upload)).files

    async def _do(self, node: str, action: PutUser | DeleteUser | DescribeLogin | UploadLogs) -> ActionReply:
        async for reply in self._agents.ask(node, lambda number: ActionRequest(request=number, action=action)):
            if isinstance(reply, ActionReply):
                if reply.error is not None:
                    raise _error(reply, action)
                return reply
        raise error("NodeNotReady")


def _error(reply: ActionReply, action: PutUser | DeleteUser | DescribeLogin | UploadLogs) -> ServiceError:
    reason = ("Reason", reply.message)
    match reply.error:
        case "exists":
            return error("NodeUserExists")
        case "notFound":
            return error("NodeUserNotFound")
        case "notValid":
            return error("OperationNotValidOnNode", reason)
        case "failed" if isinstance(action, UploadLogs):
            return error("InvalidPropertyValue", ("PropertyName", "containerUrl"), reason)
    return error("InternalError", reason)
