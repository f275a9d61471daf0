"""What a message adds for the person who reads it: what to do, or what was probably meant."""

from typing import TYPE_CHECKING

from jqueue.errors import JobNotFound, JQueueError, QueueDrained, QueueFailed

if TYPE_CHECKING:
    from jqueue.cli.command import Settings

NO_QUEUE = "there is no queue"


def hint_for(error: JQueueError, settings: "Settings") -> str:
    """What to add to the error's own line; nothing if there is nothing to say."""
    if isinstance(error, JobNotFound):
        return missing_job(error.job_id, settings)
    if isinstance(error, QueueFailed) and str(error).endswith(NO_QUEUE):
        return "; jqueue submit makes one, --queue DIR or $JQUEUE_DIR names another"
    if isinstance(error, QueueDrained):
        return " (jqueue undrain)"
    return ""


def missing_job(job: int | None, settings: "Settings") -> str:
    """Why there may be no such job: it is not there yet, it was removed, or it is elsewhere."""
    path = settings.queue_path
    try:
        with settings.open() as queue:
            newest = queue.status()["serial"]
    except (JQueueError, OSError):
        return ""
    if not newest:
        return f": {path} has had no job yet"
    if job is not None and job <= newest:
        return f": it is not in {path}, the newest there is job {newest}"
    return f": the newest in {path} is job {newest}"
