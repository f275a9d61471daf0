"""One line about an opcode: `TEST_DELAY(0.2)`."""

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jqueue.job.redaction import Redaction

INVALID_OP = "INVALID_OP"
"""What stands for an opcode whose input has no readable OP_ID."""

MAX_VALUE_CHARS = 200
"""A summary is a cell of a listing: a longer value is cut."""

MAX_READ = 10 * MAX_VALUE_CHARS
"""So much of a longer value is read for secrets: characters, or elements."""

_FIELDS = {
    "OP_BACKUP_EXPORT": "instance_name",
    "OP_BACKUP_PREPARE": "instance_name",
    "OP_BACKUP_REMOVE": "instance_name",
    "OP_CLUSTER_VERIFY_GROUP": "group_name",
    "OP_EXEC": "argv",
    "OP_GROUP_ADD": "group_name",
    "OP_GROUP_ASSIGN_NODES": "group_name",
    "OP_GROUP_EVACUATE": "group_name",
    "OP_GROUP_REMOVE": "group_name",
    "OP_GROUP_RENAME": "group_name",
    "OP_GROUP_SET_PARAMS": "group_name",
    "OP_GROUP_VERIFY_DISKS": "group_name",
    "OP_NODE_ADD": "node_name",
    "OP_NODE_EVACUATE": "node_name",
    "OP_NODE_MIGRATE": "node_name",
    "OP_NODE_MODIFY_STORAGE": "node_name",
    "OP_NODE_POWERCYCLE": "node_name",
    "OP_NODE_REMOVE": "node_name",
    "OP_NODE_SET_PARAMS": "node_name",
    "OP_QUERY": "what",
    "OP_QUERY_FIELDS": "what",
    "OP_TEST_ALLOCATOR": "name",
    "OP_TEST_DELAY": "duration",
}
"""The parameter that tells opcodes of one kind apart, where Ganeti has one; OP_INSTANCE_… use
`instance_name`. Opcode classes that set `summary_field` add themselves."""


def set_summary_field(op_id: str, field: str) -> None:
    """Let summaries of this kind show `field`, in this process."""
    _FIELDS[op_id] = field


def op_summary(op_input: Any, redaction: "Redaction | None" = None) -> str:
    """The opcode's kind without `OP_`, and the parameter that tells it apart, if it has one.

    With a `redaction` that parameter is shown without its secrets.
    """
    op_id = op_input.get("OP_ID") if isinstance(op_input, dict) else None
    if not isinstance(op_id, str):
        return INVALID_OP
    kind = op_id.removeprefix("OP_")
    field = _FIELDS.get(op_id)
    if field is None and kind.startswith("INSTANCE_"):
        field = "instance_name"
    value = op_input.get(field)
    if field is None or value is None:
        return kind
    text = _shown(op_id, value)
    if redaction is not None and redaction.suspects(text, field):
        text = _shown(op_id, redaction.value(_start_of(value), field))
    return f"{kind}({text})"


def _start_of(value: Any) -> Any:
    """The value, or of a long one more than will be shown."""
    return value[:MAX_READ] if isinstance(value, str | list) else value


def _shown(op_id: str, value: Any) -> str:
    if isinstance(value, list):
        parts = [str(part) for part in value]
        text = shlex.join(parts) if op_id == "OP_EXEC" else ",".join(parts)
    else:
        text = str(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"
