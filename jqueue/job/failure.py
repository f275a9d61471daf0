"""Errors as the results of opcodes, in Ganeti's encoding."""

from typing import Any

MAX_ERROR_CHARS = 65_536
"""An error message is read by a person, and stays in the document."""


def encode_error(error: BaseException | str) -> list[Any]:
    """An exception as the result of an opcode: `["OpExecError", [text]]`, always storable."""
    if isinstance(error, str):
        text = error
    else:
        text = str(error)
        kind = type(error).__name__
        text = f"{kind}: {text}" if text else kind
    text = text.encode(errors="backslashreplace").decode()
    if len(text) > MAX_ERROR_CHARS:
        text = text[: MAX_ERROR_CHARS - 1] + "…"
    return ["OpExecError", [text]]


def error_text(result: Any) -> str:
    """What the result of a failed opcode says: its text, or whatever is there in its stead."""
    if isinstance(result, list) and len(result) > 1 and isinstance(result[1], list) and result[1]:
        return str(result[1][0])
    return str(result)
