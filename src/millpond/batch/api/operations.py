"""The one table of routes: every operation of the specification, and the versions that have it."""

from __future__ import annotations

from . import (
    account,
    applications,
    certificates,
    events,
    explain,
    files,
    job_nodes,
    job_schedules,
    jobs,
    node_access,
    node_diagnosis,
    nodes,
    pools,
    preemption,
    scaling,
    statistics,
    tasks,
)
from .routes import Operation

_POOL = "/pools/{poolId}"
_NODE = "/pools/{poolId}/nodes/{nodeId}"
_JOB = "/jobs/{jobId}"
_TASK = "/jobs/{jobId}/tasks/{taskId}"
_CERTIFICATE = "/certificates(thumbprintAlgorithm={thumbprintAlgorithm},thumbprint={thumbprint})"
_SCHEDULE = "/jobschedules/{jobScheduleId}"

OPERATIONS: tuple[Operation, ...] = (
    # account
    Operation("GET", "/nodeagentskus", account.account_list_node_agent_skus, since="2016-02-01", until="2018-12-01"),
    Operation("GET", "/supportedimages", account.account_list_supported_images, since="2019-06-01"),
    Operation("GET", "/nodecounts", account.account_list_pool_node_counts, since="2018-03-01"),
    # applications
    Operation("GET", "/applications", applications.application_list),
    Operation("GET", "/applications/{applicationId}", applications.application_get),
    Operation("GET", "/certificates", certificates.certificate_list, until="2024-02-01"),
    Operation("POST", "/certificates", certificates.certificate_add, until="2024-02-01"),
    Operation("GET", _CERTIFICATE, certificates.certificate_get, until="2024-02-01"),
    Operation("DELETE", _CERTIFICATE, certificates.certificate_delete, until="2024-02-01"),
    Operation("POST", f"{_CERTIFICATE}/canceldelete", certificates.certificate_cancel_deletion, until="2024-02-01"),
    # pools
    Operation("POST", "/pools", pools.pool_add),
    Operation("GET", "/pools", pools.pool_list),
    Operation("GET", _POOL, pools.pool_get),
    Operation("HEAD", _POOL, pools.pool_exists),
    Operation("PATCH", _POOL, pools.pool_patch),
    Operation("DELETE", _POOL, pools.pool_delete),
    Operation("POST", f"{_POOL}/updateproperties", pools.pool_update_properties),
    Operation("POST", f"{_POOL}/resize", pools.pool_resize),
    Operation("POST", f"{_POOL}/stopresize", pools.pool_stop_resize),
    Operation("POST", f"{_POOL}/removenodes", pools.pool_remove_nodes),
    Operation("POST", f"{_POOL}/enableautoscale", scaling.pool_enable_auto_scale),
    Operation("POST", f"{_POOL}/disableautoscale", scaling.pool_disable_auto_scale),
    Operation("POST", f"{_POOL}/evaluateautoscale", scaling.pool_evaluate_auto_scale),
    Operation("POST", f"{_POOL}/upgradeos", pools.pool_upgrade_os, until="2018-08-01"),
    # nodes
    Operation("GET", f"{_POOL}/nodes", nodes.compute_node_list),
    Operation("GET", _NODE, nodes.compute_node_get),
    Operation("POST", f"{_NODE}/reboot", nodes.compute_node_reboot),
    Operation("POST", f"{_NODE}/reimage", nodes.compute_node_reimage),
    Operation("POST", f"{_NODE}/deallocate", nodes.compute_node_deallocate, since="2024-07-01"),
    Operation("POST", f"{_NODE}/start", nodes.compute_node_start, since="2024-07-01"),
    Operation("POST", f"{_NODE}/disablescheduling", nodes.compute_node_disable_scheduling),
    Operation("POST", f"{_NODE}/enablescheduling", nodes.compute_node_enable_scheduling),
    Operation("POST", f"{_NODE}/users", node_access.compute_node_add_user),
    Operation("PUT", f"{_NODE}/users/{{userName}}", node_access.compute_node_update_user),
    Operation("DELETE", f"{_NODE}/users/{{userName}}", node_access.compute_node_delete_user),
    Operation(
        "GET",
        f"{_NODE}/remoteloginsettings",
        node_access.compute_node_get_remote_login_settings,
        since="2016-02-01",
    ),
    Operation("GET", f"{_NODE}/rdp", node_access.compute_node_get_remote_desktop, until="2024-02-01"),
    Operation(
        "POST",
        f"{_NODE}/uploadbatchservicelogs",
        node_diagnosis.compute_node_upload_batch_service_logs,
        since="2018-03-01",
    ),
    Operation("GET", f"{_NODE}/extensions", node_diagnosis.compute_node_extension_list, since="2021-06-01"),
    Operation(
        "GET",
        f"{_NODE}/extensions/{{extensionName}}",
        node_diagnosis.compute_node_extension_get,
        since="2021-06-01",
    ),
    Operation("GET", f"{_NODE}/files", files.file_list_from_compute_node),
    Operation("GET", f"{_NODE}/files/{{filePath}}", files.file_get_from_compute_node),
    Operation("HEAD", f"{_NODE}/files/{{filePath}}", files.file_get_properties_from_compute_node),
    Operation("DELETE", f"{_NODE}/files/{{filePath}}", files.file_delete_from_compute_node),
    # jobs
    Operation("POST", "/jobs", jobs.job_add),
    Operation("GET", "/jobs", jobs.job_list),
    Operation("GET", _JOB, jobs.job_get),
    Operation("PATCH", _JOB, jobs.job_patch),
    Operation("PUT", _JOB, jobs.job_update),
    Operation("DELETE", _JOB, jobs.job_delete),
    Operation("POST", f"{_JOB}/terminate", jobs.job_terminate),
    Operation("POST", f"{_JOB}/disable", jobs.job_disable),
    Operation("POST", f"{_JOB}/enable", jobs.job_enable),
    Operation("GET", f"{_JOB}/taskcounts", jobs.job_get_task_counts, since="2017-06-01"),
    Operation(
        "GET",
        f"{_JOB}/jobpreparationandreleasetaskstatus",
        job_nodes.job_list_preparation_and_release_task_status,
    ),
    # tasks
    Operation("POST", f"{_JOB}/tasks", tasks.task_add),
    Operation("POST", f"{_JOB}/addtaskcollection", tasks.task_add_collection, since="2016-02-01"),
    Operation("GET", f"{_JOB}/tasks", tasks.task_list),
    Operation("GET", _TASK, tasks.task_get),
    Operation("PUT", _TASK, tasks.task_update),
    Operation("DELETE", _TASK, tasks.task_delete),
    Operation("POST", f"{_TASK}/terminate", tasks.task_terminate),
    Operation("POST", f"{_TASK}/reactivate", tasks.task_reactivate, since="2016-07-01"),
    Operation("GET", f"{_TASK}/subtasksinfo", tasks.task_list_subtasks),
    Operation("GET", f"{_TASK}/files", files.file_list_from_task),
    Operation("GET", f"{_TASK}/files/{{filePath}}", files.file_get_from_task),
    Operation("HEAD", f"{_TASK}/files/{{filePath}}", files.file_get_properties_from_task),
    Operation("DELETE", f"{_TASK}/files/{{filePath}}", files.file_delete_from_task),
    # job schedules
    Operation("POST", "/jobschedules", job_schedules.job_schedule_add),
    Operation("GET", "/jobschedules", job_schedules.job_schedule_list),
    Operation("GET", _SCHEDULE, job_schedules.job_schedule_get),
    Operation("HEAD", _SCHEDULE, job_schedules.job_schedule_exists),
    Operation("PATCH", _SCHEDULE, job_schedules.job_schedule_patch),
    Operation("PUT", _SCHEDULE, job_schedules.job_schedule_update),
    Operation("DELETE", _SCHEDULE, job_schedules.job_schedule_delete),
    Operation("POST", f"{_SCHEDULE}/disable", job_schedules.job_schedule_disable),
    Operation("POST", f"{_SCHEDULE}/enable", job_schedules.job_schedule_enable),
    Operation("POST", f"{_SCHEDULE}/terminate", job_schedules.job_schedule_terminate),
    Operation("GET", f"{_SCHEDULE}/jobs", job_schedules.job_list_from_job_schedule),
    # statistics
    Operation("GET", "/poolusagemetrics", statistics.pool_list_usage_metrics),
    Operation("GET", "/lifetimepoolstats", statistics.pool_get_all_lifetime_statistics, until="2022-10-01"),
    Operation("GET", "/lifetimejobstats", statistics.job_get_all_lifetime_statistics, until="2022-10-01"),
)

#: What no version of the specification has.
EXTENSIONS: tuple[Operation, ...] = (
    Operation("GET", "/events", events.event_list),
    Operation("GET", f"{_JOB}/explain", explain.job_explain),
    Operation("GET", f"{_TASK}/explain", explain.task_explain),
    Operation("GET", f"{_POOL}/explain", explain.pool_explain),
    Operation("GET", f"{_NODE}/explain", explain.node_explain),
    Operation("GET", "/nodes/{nodeId}/explain", explain.node_explain_by_id),
    Operation("GET", f"{_SCHEDULE}/explain", explain.job_schedule_explain),
    Operation("POST", "/nodes/{nodeId}/preempt", preemption.node_preempt),
)
