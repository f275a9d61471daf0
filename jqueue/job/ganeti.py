"""The keys of Ganeti's own job files, in the order it writes them; ours stand beside them.

Ganeti's Python code can't load an opcode with a parameter that it doesn't know.
"""

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
OWN_PARAMETERS: Final = ("not_before", "retries", "timeout_s")
"""What any opcode may be given here, and none of Ganeti's kinds has."""
