"""A second opinion on status and priority, written from Ganeti's facts and not from our code."""

import re

LETTERS = {
    "queued": "q",
    "waiting": "w",
    "running": "r",
    "success": "s",
    "error": "E",
    "canceling": "G",
    "canceled": "C",
}


def status_and_priority(ops):
    """What Ganeti reports for a job of these (status, priority) pairs."""
    word = "".join(LETTERS[status] for status, _ in ops)
    if decided := re.search(r"[EGC]", word):
        letter = decided.group()
    elif active := re.fullmatch(r".*([wr])[^wr]*", word):
        letter = active.group(1)
    else:
        letter = "s" if set(word) <= {"s"} else "q"
    names = {letter: name for name, letter in LETTERS.items()}
    unfinished = sorted(priority for status, priority in ops if LETTERS[status] in "qwrG")
    return names[letter], unfinished[0] if unfinished else 0
