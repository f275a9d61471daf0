"""The keys of Ganeti's own job files, in the order it writes them; ours stand beside them."""

from typing import Final

JOB_KEYS: Final = (
    "id",
    "ops",
    "received_timestamp",
    "start_timestamp",
    "end_timestamp",
    "livelock",
    "process_id",
)
OP_KEYS: Final = (
    "input",
    "status",
    "result",
    "log",
    "priority",
    "start_timestamp",
    "exec_timestamp",
    "end_timestamp",
)
