"""The query parameters and the conditional headers that each operation takes.

What an operation does not take is refused rather than ignored: a list without its misspelt filter would be another
list, and a write without its condition another write.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import error
from .http import CONDITION_HEADERS, Call
from .routes import Operation


class Parameters(NamedTuple):
    """Names in lower case, without those that every operation takes."""

    query: frozenset[str] = frozenset()
    conditions: frozenset[str] = frozenset()


#: Seconds that the service may take; here it takes as long as it does.
_TIMEOUT = "timeout"
_COMMON = frozenset({"api-version", _TIMEOUT})
_NUMBER = re.compile(r"[0-9]+")

_NONE = Parameters()
_ALL_CONDITIONS = frozenset(CONDITION_HEADERS)
_DATES = frozenset({"if-modified-since", "if-unmodified-since"})

_CHANGE = Parameters(conditions=_ALL_CONDITIONS)
_END = Parameters(frozenset({"force"}), _ALL_CONDITIONS)
_SELECT = Parameters(frozenset({"$select"}))
_READ = Parameters(frozenset({"$select", "$expand"}), _ALL_CONDITIONS)
_EXISTS = Parameters(frozenset({"$select"}), _ALL_CONDITIONS)
_PAGES = frozenset({"maxresults", "$skiptoken"})
_FILES = Parameters(_PAGES | {"$filter", "recursive"})
_FILTERED = Parameters(_PAGES | {"$filter"})
_SELECTED = Parameters(_PAGES | {"$filter", "$select"})
_EXPANDED = Parameters(_PAGES | {"$filter", "$select", "$expand"})
_FILE = Parameters(conditions=_DATES)

#: By the names of the handlers; operations that are not named take none.
_PARAMETERS: dict[str, Parameters] = {
    "account_list_node_agent_skus": _FILTERED,
    "account_list_pool_node_counts": _FILTERED,
    "account_list_supported_images": _FILTERED,
    "application_list": Parameters(_PAGES),
    "certificate_get": _SELECT,
    "certificate_list": _SELECTED,
    "compute_node_extension_get": _SELECT,
    "compute_node_extension_list": Parameters(_PAGES | {"$select"}),
    "compute_node_get": _SELECT,
    "compute_node_list": _SELECTED,
    "event_list": Parameters(frozenset({"job", "pool"})),
    "file_delete_from_compute_node": Parameters(frozenset({"recursive"})),
    "file_delete_from_task": Parameters(frozenset({"recursive"})),
    "file_get_from_compute_node": _FILE,
    "file_get_from_task": _FILE,
    "file_get_properties_from_compute_node": _FILE,
    "file_get_properties_from_task": _FILE,
    "file_list_from_compute_node": _FILES,
    "file_list_from_task": _FILES,
    "job_delete": _END,
    "job_disable": _CHANGE,
    "job_enable": _CHANGE,
    "job_get": _READ,
    "job_list": _EXPANDED,
    "job_list_from_job_schedule": _EXPANDED,
    "job_list_preparation_and_release_task_status": _SELECTED,
    "job_patch": _CHANGE,
    "job_schedule_delete": _END,
    "job_schedule_disable": _CHANGE,
    "job_schedule_enable": _CHANGE,
    "job_schedule_exists": _EXISTS,
    "job_schedule_get": _READ,
    "job_schedule_list": _EXPANDED,
    "job_schedule_patch": _CHANGE,
    "job_schedule_terminate": _END,
    "job_schedule_update": _CHANGE,
    "job_terminate": _END,
    "job_update": _CHANGE,
    "node_preempt": Parameters(frozenset({"seconds"})),
    "pool_delete": _CHANGE,
    "pool_enable_auto_scale": _CHANGE,
    "pool_exists": _EXISTS,
    "pool_get": _READ,
    "pool_list": _EXPANDED,
    "pool_list_usage_metrics": Parameters(_PAGES | {"$filter", "starttime", "endtime"}),
    "pool_patch": _CHANGE,
    "pool_remove_nodes": _CHANGE,
    "pool_resize": _CHANGE,
    "pool_stop_resize": _CHANGE,
    "pool_upgrade_os": _CHANGE,
    "task_delete": _CHANGE,
    "task_get": _READ,
    "task_list": _EXPANDED,
    "task_list_subtasks": _SELECT,
    "task_reactivate": _CHANGE,
    "task_terminate": _CHANGE,
    "task_update": _CHANGE,
}


def parameters_of(operation: Operation) -> Parameters:
    return _PARAMETERS.get(operation.handler.__name__, _NONE)


def check_parameters(call: Call, operation: Operation) -> None:
    """Whether the operation takes what the request says.

    Raises ``UnsupportedQueryParameter``, ``UnsupportedHeader``, ``InvalidQueryParameterValue``.
    """
    taken = parameters_of(operation)
    for name in call.query:
        if name not in taken.query and name not in _COMMON:
            raise call.bad_parameter(name, "The operation has no such query parameter.", "UnsupportedQueryParameter")
    timeout = call.query.get(_TIMEOUT, "")
    if timeout and not _NUMBER.fullmatch(timeout):
        raise call.bad_parameter(_TIMEOUT, "The value is not a number of seconds.")
    for name in CONDITION_HEADERS:
        if name in call.headers and name not in taken.conditions:
            raise error("UnsupportedHeader", ("HeaderName", name), ("HeaderValue", call.headers[name]))
