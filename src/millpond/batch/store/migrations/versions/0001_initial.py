"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNFINISHED = sa.text("state <> 'completed'")
_SCHEDULED = sa.text("schedule IS NOT NULL")
_PLACED = sa.text("node IS NOT NULL AND state <> 'completed'")
_PLACED_GANGS = sa.text("gang IS NOT NULL AND node IS NOT NULL AND state <> 'completed'")

_READY = sa.text("node IS NULL AND state <> 'completed' AND pending_dependencies = 0")
_SATISFIED_NUMBER = sa.text("satisfies_dependents AND number IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "pools",
        sa.Column("key", _TEXT, primary_key=True),
        sa.Column("account", _TEXT, nullable=False),
        sa.Column("id", _TEXT),
        sa.Column("state", _TEXT),
        sa.Column("state_transition_time", sa.BigInteger),
        sa.Column("creation_time", sa.BigInteger),
        sa.Column("last_modified", sa.BigInteger),
        sa.Column("allocation_state", _TEXT),
        sa.Column("allocation_state_transition_time", sa.BigInteger),
        sa.Column("enable_auto_scale", sa.Boolean),
        sa.Column("enable_inter_node_communication", sa.Boolean),
        sa.Column("vm_size", _TEXT),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_index("pools_by_account", "pools", ["account", "key"])

    op.create_table(
        "nodes",
        sa.Column("key", _TEXT, primary_key=True),
        sa.Column("pool", _TEXT, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("is_dedicated", sa.Boolean, nullable=False),
        sa.Column("id", _TEXT),
        sa.Column("state", _TEXT),
        sa.Column("state_transition_time", sa.BigInteger),
        sa.Column("scheduling_state", _TEXT),
        sa.Column("last_boot_time", sa.BigInteger),
        sa.Column("allocation_time", sa.BigInteger),
        sa.Column("start_task_state", _TEXT),
        sa.Column("start_task_result", _TEXT),
        sa.Column("start_task_exit_code", sa.BigInteger),
        sa.Column("start_task_start_time", sa.BigInteger),
        sa.Column("start_task_end_time", sa.BigInteger),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_index("nodes_by_pool", "nodes", ["pool", "number"])

    op.create_table(
        "samples",
        sa.Column("pool", _TEXT, primary_key=True),
        sa.Column("moment", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sample", sa.LargeBinary, nullable=False),
    )

    op.create_table(
        "pool_usages",
        sa.Column("pool", _TEXT, primary_key=True),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )

    op.create_table(
        "usage_intervals",
        sa.Column("account", _TEXT, primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("pool_id", _TEXT, primary_key=True),
        sa.Column("recorded", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("vm_size", _TEXT, nullable=False),
        sa.Column("core_time", sa.BigInteger, nullable=False),
    )

    op.create_table(
        "accounts",
        sa.Column("key", _TEXT, primary_key=True),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )

    op.create_table(
        "jobs",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("key", _TEXT, nullable=False, unique=True),
        sa.Column("account", _TEXT, nullable=False),
        sa.Column("schedule", _TEXT),
        sa.Column("id", _TEXT),
        sa.Column("state", _TEXT),
        sa.Column("state_transition_time", sa.BigInteger),
        sa.Column("previous_state", _TEXT),
        sa.Column("previous_state_transition_time", sa.BigInteger),
        sa.Column("creation_time", sa.BigInteger),
        sa.Column("last_modified", sa.BigInteger),
        sa.Column("start_time", sa.BigInteger),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("pool_id", _TEXT),
        sa.Column("priority", sa.BigInteger),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_index("jobs_by_account", "jobs", ["account", "key"])
    op.create_index(
        "jobs_by_schedule", "jobs", ["schedule", "number"], sqlite_where=_SCHEDULED, postgresql_where=_SCHEDULED
    )
    op.create_index("unfinished_jobs", "jobs", ["number"], sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED)

    op.create_table(
        "job_schedules",
        sa.Column("key", _TEXT, primary_key=True),
        sa.Column("account", _TEXT, nullable=False),
        sa.Column("id", _TEXT),
        sa.Column("state", _TEXT),
        sa.Column("state_transition_time", sa.BigInteger),
        sa.Column("previous_state", _TEXT),
        sa.Column("previous_state_transition_time", sa.BigInteger),
        sa.Column("creation_time", sa.BigInteger),
        sa.Column("last_modified", sa.BigInteger),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("do_not_run_until", sa.BigInteger),
        sa.Column("do_not_run_after", sa.BigInteger),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_index("job_schedules_by_account", "job_schedules", ["account", "key"])

    op.create_table(
        "tasks",
        sa.Column("place", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("job", sa.BigInteger, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("creation_time", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer),
        sa.Column("exit_conditions", sa.LargeBinary),
        sa.Column("affinity", _TEXT),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("state_transition_time", sa.BigInteger, nullable=False),
        sa.Column("previous_state", _TEXT),
        sa.Column("previous_state_transition_time", sa.BigInteger),
        sa.Column("last_modified", sa.BigInteger, nullable=False),
        sa.Column("required_slots", sa.Integer, nullable=False),
        sa.Column("max_task_retry_count", sa.Integer, nullable=False),
        sa.Column("max_wall_clock_time", sa.BigInteger, nullable=False),
        sa.Column("retention_time", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("node", _TEXT),
        sa.Column("pool_id", _TEXT),
        sa.Column("node_id", _TEXT),
        sa.Column("start_time", sa.BigInteger),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("exit_code", sa.Integer),
        sa.Column("result", _TEXT),
        sa.Column("failure", sa.LargeBinary),
        sa.Column("retry_count", sa.Integer, nullable=False),
        sa.Column("last_retry_time", sa.BigInteger),
        sa.Column("requeue_count", sa.Integer, nullable=False),
        sa.Column("last_requeue_time", sa.BigInteger),
        sa.Column("withdrawal", _TEXT),
        sa.Column("pending_dependencies", sa.Integer, nullable=False),
        sa.Column("satisfies_dependents", sa.Boolean, nullable=False),
        sa.Column("gang", sa.LargeBinary),
        sa.Column("container_info", sa.LargeBinary),
        sa.Column("usage", sa.LargeBinary),
    )
    op.create_index("tasks_by_key", "tasks", ["job", "key"], unique=True)
    op.create_index("tasks_by_state", "tasks", ["state", "place"])
    op.create_index("placed_tasks", "tasks", ["node"], sqlite_where=_PLACED, postgresql_where=_PLACED)
    op.create_index("placed_gangs", "tasks", ["place"], sqlite_where=_PLACED_GANGS, postgresql_where=_PLACED_GANGS)
    op.create_index("ready_tasks", "tasks", ["place"], sqlite_where=_READY, postgresql_where=_READY)
    op.create_index(
        "satisfied_numbers",
        "tasks",
        ["job", "number"],
        sqlite_where=_SATISFIED_NUMBER,
        postgresql_where=_SATISFIED_NUMBER,
    )

    op.create_table(
        "dependencies",
        sa.Column("job", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("prerequisite", _TEXT, primary_key=True),
        sa.Column("dependent", _NUMBER, primary_key=True, autoincrement=False),
    )
    op.create_index("dependencies_by_dependent", "dependencies", ["dependent"])

    op.create_table(
        "task_documents",
        sa.Column("place", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )

    op.create_table(
        "job_nodes",
        sa.Column("job", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("node", _TEXT, primary_key=True),
    )
    op.create_index("job_nodes_by_node", "job_nodes", ["node"])

    op.create_table(
        "preparations",
        sa.Column("job", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("node", _TEXT, primary_key=True),
        sa.Column("pool_id", _TEXT),
        sa.Column("node_id", _TEXT),
        sa.Column("preparation_state", _TEXT),
        sa.Column("preparation_start_time", sa.BigInteger),
        sa.Column("preparation_end_time", sa.BigInteger),
        sa.Column("preparation_exit_code", sa.BigInteger),
        sa.Column("preparation_result", _TEXT),
        sa.Column("release_state", _TEXT),
        sa.Column("release_start_time", sa.BigInteger),
        sa.Column("release_end_time", sa.BigInteger),
        sa.Column("release_exit_code", sa.BigInteger),
        sa.Column("release_result", _TEXT),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )

    op.create_table(
        "chores",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("node", _TEXT, nullable=False),
        sa.Column("job_id", _TEXT, nullable=False),
        sa.Column("task_id", _TEXT),
    )
    op.create_index("chores_by_node", "chores", ["node"])
