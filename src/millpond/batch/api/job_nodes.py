"""How jobs' preparation and release tasks stand on nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from millpond.common.agent_protocol import task_directory
from millpond.common.clock import to_iso

from ..errors import error
from ..model.job import Job
from ..model.job_node import JobNode, JobTaskRun
from .failures import container_info, failure_info
from .http import Answer, Call, listing
from .jobs import find_job
from .lists import stored_page
from .pools import pool_url
from .wire import jobs as wire
from .wire.common import FailureInfo
from .wire.fields import maybe, maybe_time

if TYPE_CHECKING:
    from ..service import BatchService


async def job_list_preparation_and_release_task_status(service: BatchService, call: Call) -> Answer:
    """Also nodes that are gone are listed."""
    job = find_job(service, call)
    if job.preparation is None:
        raise error("JobPreparationTaskNotSpecified")
    page = await stored_page(call, "job_nodes", lambda query: service.reader.job_nodes(job.key, query))
    contents = [_content(call, job, record) for record in page.items]
    model = wire.JobPreparationAndReleaseTaskStatus
    return listing(call, contents, model, "jobpreparationandreleasetaskstatuslist", page.next)


def _content(call: Call, job: Job, record: JobNode) -> wire.JobPreparationAndReleaseTaskStatus:
    node_url = f"{pool_url(call, record.pool_id)}/nodes/{record.node_id}"
    status = wire.JobPreparationAndReleaseTaskStatus(pool_id=record.pool_id, node_id=record.node_id, node_url=node_url)
    if job.preparation is not None:
        run, directory = record.preparation, task_directory(job.id, job.preparation.id)
        status.job_preparation_task_execution_info = wire.JobPreparationTaskExecutionInfo(
            start_time=to_iso(run.start_time),
            end_time=maybe_time(run.end_time),
            state=run.state,
            task_root_directory=directory,
            task_root_directory_url=f"{node_url}/files/{directory}",
            exit_code=maybe(run.exit_code),
            container_info=container_info(run.container_info),
            failure_info=_failure_info(run),
            retry_count=run.retry_count,
            last_retry_time=maybe_time(run.last_retry_time),
            result=maybe(run.result),
        )
    if job.release is not None and record.release is not None:
        run, directory = record.release, task_directory(job.id, job.release.id)
        status.job_release_task_execution_info = wire.JobReleaseTaskExecutionInfo(
            start_time=to_iso(run.start_time),
            end_time=maybe_time(run.end_time),
            state=run.state,
            task_root_directory=directory,
            task_root_directory_url=f"{node_url}/files/{directory}",
            exit_code=maybe(run.exit_code),
            container_info=container_info(run.container_info),
            failure_info=_failure_info(run),
            result=maybe(run.result),
        )
    return status


def _failure_info(run: JobTaskRun) -> FailureInfo | msgspec.UnsetType:
    return UNSET if run.failure is None else failure_info(run.failure)
