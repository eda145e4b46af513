"""Operations on job schedules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from millpond.common.clock import SECOND, from_iso, to_etag, to_iso
from millpond.common.durations import format_duration, parse_duration
from millpond.common.errors import ServiceError

from ..engine.messages import (
    JobScheduleAddRequested,
    JobScheduleChangeRequested,
    JobScheduleDeleteRequested,
    JobScheduleDisableRequested,
    JobScheduleEnableRequested,
    JobScheduleTerminateRequested,
)
from ..errors import error
from ..model.job import Job
from ..model.keys import entity_key
from ..model.schedule import JobSchedule, JobScheduleState, Timetable
from ..model.statistics import JobTotals
from .auto_pools import within
from .http import Answer, Call, changed, created, entity, entity_headers, listing
from .jobs import job_content, job_url, new_job, specification_content
from .lists import stored_page
from .statistics import is_wanted, job_statistics, stats_url
from .unbuilt import refuse_unbuilt
from .wire import jobs as job_wire
from .wire import schedules as wire
from .wire.fields import maybe_time

if TYPE_CHECKING:
    from ..service import BatchService

#: The end of the year 9999: no client can read a later time.
_LAST_MOMENT = 253_402_300_799 * SECOND


async def job_schedule_add(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.JobScheduleAdd)
    refuse_unbuilt(request)
    timetable = _timetable(service, request.schedule)
    if timetable.do_not_run_after is not None and timetable.do_not_run_after <= call.now:
        raise _wrong_end(request.schedule, "The time is over.")
    schedule: JobSchedule = await service.runtime.submit(
        JobScheduleAddRequested(
            schedule=JobSchedule(
                key=entity_key(call.account, request.id),
                account=call.account,
                id=request.id,
                state_transition_time=call.now,
                creation_time=call.now,
                last_modified=call.now,
                timetable=timetable,
                anchor=call.now,
                template=_template(service, call, request.job_specification),
                document=_document(request),
            )
        )
    )
    url = _url(call, schedule.id)
    return created(url, schedule.last_modified, url)


async def job_schedule_list(service: BatchService, call: Call) -> Answer:
    page = await stored_page(call, "job_schedules", lambda query: service.reader.schedules(call.account, query))
    totals = await _totals(service, call, page.items)
    contents = [_content(call, schedule, totals.get(schedule.key)) for schedule in page.items]
    return listing(call, contents, wire.JobSchedule, "jobschedules", page.next)


async def job_schedule_get(service: BatchService, call: Call) -> Answer:
    schedule = find_schedule(service, call)
    call.check_read(schedule.last_modified)
    totals = (await _totals(service, call, [schedule])).get(schedule.key)
    return entity(call, _content(call, schedule, totals), wire.JobSchedule, "jobschedules", schedule.last_modified)


async def _totals(service: BatchService, call: Call, schedules: Sequence[JobSchedule]) -> dict[str, JobTotals]:
    """What the schedules' jobs have used, by schedule, if the client asks for it."""
    if not is_wanted(call):
        return {}
    return await asyncio.to_thread(service.reader.totals_of_schedules, [schedule.key for schedule in schedules])


async def job_schedule_exists(service: BatchService, call: Call) -> Answer:
    schedule = find_schedule(service, call)
    call.check_read(schedule.last_modified)
    return Answer(200, entity_headers(schedule.last_modified))


async def job_list_from_job_schedule(service: BatchService, call: Call) -> Answer:
    key = find_schedule(service, call).key
    page = await stored_page(call, "jobs", lambda query: service.reader.jobs_of(key, query))
    return listing(call, [job_content(call, job) for job in page.items], job_wire.Job, "jobs", page.next)


async def job_schedule_patch(service: BatchService, call: Call) -> Answer:
    """What the request does not name stays as it is."""
    request = call.read(wire.JobSchedulePatch)
    refuse_unbuilt(request)
    given, specification = request.schedule, request.job_specification
    schedule: JobSchedule = await service.runtime.submit(
        JobScheduleChangeRequested(
            schedule=_key(call),
            document=_document(request),
            timetable=UNSET if given is UNSET else _timetable(service, given),
            template=UNSET if specification is UNSET else _template(service, call, specification),
            conditions=call.conditions(),
        )
    )
    return changed(call, 200, schedule.last_modified)


async def job_schedule_update(service: BatchService, call: Call) -> Answer:
    """What the request does not name of the members that may be changed gets its default."""
    request = call.read(wire.JobScheduleUpdate, round_trip=wire.JobSchedule)
    refuse_unbuilt(request)
    document = _document(request)
    schedule: JobSchedule = await service.runtime.submit(
        JobScheduleChangeRequested(
            schedule=_key(call),
            document=document,
            drop=[name for name in ("schedule", "metadata") if name not in document],
            timetable=_timetable(service, request.schedule or wire.Schedule()),
            template=_template(service, call, request.job_specification),
            conditions=call.conditions(),
        )
    )
    return changed(call, 200, schedule.last_modified)


async def job_schedule_delete(service: BatchService, call: Call) -> Answer:
    force = call.flag("force")
    event = JobScheduleDeleteRequested(schedule=_key(call), force=force, conditions=call.conditions())
    await service.runtime.submit(event)
    return Answer(202)


async def job_schedule_terminate(service: BatchService, call: Call) -> Answer:
    force = call.flag("force")
    event = JobScheduleTerminateRequested(schedule=_key(call), force=force, conditions=call.conditions())
    schedule: JobSchedule = await service.runtime.submit(event)
    return changed(call, 202, schedule.last_modified)


async def job_schedule_disable(service: BatchService, call: Call) -> Answer:
    event = JobScheduleDisableRequested(schedule=_key(call), conditions=call.conditions())
    schedule: JobSchedule = await service.runtime.submit(event)
    return changed(call, 204, schedule.last_modified)


async def job_schedule_enable(service: BatchService, call: Call) -> Answer:
    event = JobScheduleEnableRequested(schedule=_key(call), conditions=call.conditions())
    schedule: JobSchedule = await service.runtime.submit(event)
    return changed(call, 204, schedule.last_modified)


# --- what handlers share -----------------------------------------------------------------------------------------


def _key(call: Call) -> str:
    return entity_key(call.account, call.params["jobScheduleId"])


def _url(call: Call, schedule_id: str) -> str:
    return f"{call.base_url}/jobschedules/{schedule_id}"


def find_schedule(service: BatchService, call: Call) -> JobSchedule:
    schedule = service.reader.schedule(_key(call))
    if schedule is None:
        raise error("JobScheduleNotFound")
    return schedule


def _template(service: BatchService, call: Call, specification: job_wire.JobSpecification) -> Job:
    """What the jobs are made of."""
    try:
        return new_job(service, call, specification, "")
    except ServiceError as refusal:
        raise within("jobSpecification.", refusal) from None


def _document(request: wire.JobScheduleAdd | wire.JobSchedulePatch | wire.JobScheduleUpdate) -> dict[str, Any]:
    """The schedule as it is specified, without the job."""
    document: dict[str, Any] = msgspec.to_builtins(request)
    return {name: value for name, value in document.items() if name not in ("id", "jobSpecification")}


def _timetable(service: BatchService, given: wire.Schedule) -> Timetable:
    """Raises ``InvalidPropertyValue`` where no job could come of it."""
    shortest = round(service.settings.shortest_recurrence_s * SECOND)
    intervals = {"startWindow": given.start_window, "recurrenceInterval": given.recurrence_interval}
    for name, text in intervals.items():
        if text is not UNSET and parse_duration(text) < shortest:
            raise error(
                "InvalidPropertyValue",
                ("PropertyName", f"schedule.{name}"),
                ("PropertyValue", text),
                ("Reason", f"The interval must be at least {format_duration(shortest)}."),
            )
    until, after = given.do_not_run_until, given.do_not_run_after
    timetable = Timetable(
        do_not_run_until=None if until is UNSET else from_iso(until),
        do_not_run_after=None if after is UNSET else from_iso(after),
        start_window=None if given.start_window is UNSET else parse_duration(given.start_window),
        recurrence_interval=None if given.recurrence_interval is UNSET else parse_duration(given.recurrence_interval),
    )
    begin, end = timetable.do_not_run_until, timetable.do_not_run_after
    if begin is not None and end is not None and end <= begin:
        raise _wrong_end(given, "The time must be later than doNotRunUntil.")
    return timetable


def _wrong_end(given: wire.Schedule, reason: str) -> ServiceError:
    return error(
        "InvalidPropertyValue",
        ("PropertyName", "schedule.doNotRunAfter"),
        ("PropertyValue", given.do_not_run_after or ""),
        ("Reason", reason),
    )


def _content(call: Call, schedule: JobSchedule, totals: JobTotals | None) -> dict[str, Any]:
    """A job schedule as it is answered with."""
    content = {
        **schedule.document,
        "id": schedule.id,
        "url": _url(call, schedule.id),
        "eTag": to_etag(schedule.last_modified),
        "lastModified": to_iso(schedule.last_modified),
        "creationTime": to_iso(schedule.creation_time),
        "state": schedule.state,
        "stateTransitionTime": to_iso(schedule.state_transition_time),
        "jobSpecification": specification_content(schedule.template),
        "executionInfo": _execution_info(call, schedule),
    }
    if is_wanted(call):
        url = stats_url(_url(call, schedule.id))
        content["stats"] = job_statistics(url, schedule.creation_time, totals or JobTotals())
    if schedule.previous_state is not None and schedule.previous_state_transition_time is not None:
        content["previousState"] = schedule.previous_state
        content["previousStateTransitionTime"] = to_iso(schedule.previous_state_transition_time)
    return content


def _execution_info(call: Call, schedule: JobSchedule) -> wire.JobScheduleExecutionInfo:
    recent, following = schedule.recent_job, None
    if schedule.state in (JobScheduleState.ACTIVE, JobScheduleState.DISABLED):
        following = schedule.next_run_time(call.now)
    return wire.JobScheduleExecutionInfo(
        next_run_time=maybe_time(following if following is None or following <= _LAST_MOMENT else None),
        recent_job=UNSET if recent is None else wire.RecentJob(id=recent, url=job_url(call, recent)),
        end_time=maybe_time(schedule.end_time),
    )
