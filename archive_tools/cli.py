"""The command `jqueue-archive`: list, info and verify, on any queue directory."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click
import orjson

from archive_tools.verify import verify as find_faults
from jqueue._version import __version__
from jqueue.errors import JobNotFound, JQueueError
from jqueue.job.ids import parse_job_id
from jqueue.job.snapshot import Job
from jqueue.job.state import Place
from jqueue.store.offline import OfflineQueue


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jqueue-archive")
def cli() -> None:
    """Look at a queue directory, dead or alive, without a daemon or the lock; nothing is changed.

    Example: jqueue-archive verify /var/lib/jqueue
    """


def _job(queue: OfflineQueue, job: int) -> Job | None:
    entry = queue.find(job)
    if entry is None or entry.document is None:
        return None
    return Job(entry.document, archived=entry.place is Place.ARCHIVE)


def _show(value: Any) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _brief(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": str(job.status),
        "priority": job.priority,
        "summary": list(job.summary),
        "archived": job.archived,
    }


@cli.command("list")
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("ids", nargs=-1)
@click.option("--archived", is_flag=True, help="Show archived jobs too.")
@click.option("--json", "as_json", is_flag=True, help="An array of objects.")
def list_jobs(directory: Path, ids: tuple[str, ...], *, archived: bool, as_json: bool) -> None:
    """List the jobs of DIRECTORY, or those with the given IDS.

    Example: jqueue-archive list --archived /var/lib/jqueue
    """
    with OfflineQueue(directory) as queue:
        wanted = [parse_job_id(text) for text in ids] or queue.job_ids(archived=archived)
        found = [(number, _job(queue, number)) for number in wanted]
    missing = [number for number, job in found if job is None]
    jobs = [job for _, job in found if job is not None]
    if as_json:
        _show([_brief(job) for job in jobs])
    else:
        for job in jobs:
            mark = "  archived" if job.archived else ""
            click.echo(
                f"{job.id:>8}  {job.status:<9} {job.priority:>4}  {', '.join(job.summary)}{mark}"
            )
    for number in missing:
        click.echo(f"job {number}: not there, or its file can't be read", err=True)
    if missing:
        sys.exit(1)


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("job_id")
def info(directory: Path, job_id: str) -> None:
    """Show the whole document of one job, live or archived, as JSON.

    Example: jqueue-archive info /var/lib/jqueue 12
    """
    number = parse_job_id(job_id)
    with OfflineQueue(directory) as queue:
        job = _job(queue, number)
    if job is None:
        raise JobNotFound(f"no job {number} in {directory}, live or archived", job_id=number)
    _show({**_brief(job), "document": job.to_dict()})


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="An array of findings with stable codes.")
def verify(directory: Path, *, as_json: bool) -> None:
    """Name everything that is wrong with DIRECTORY; exit 0 clean, 1 findings, 2 can't read.

    Example: jqueue-archive verify /var/lib/jqueue
    """
    try:
        findings = find_faults(directory)
    except (JQueueError, OSError) as error:
        click.echo(f"jqueue-archive: {error}", err=True)
        sys.exit(2)
    if as_json:
        _show([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{finding.code:<18} {finding.text}")
        click.echo(f"{len(findings)} findings" if findings else "clean", err=True)
    sys.exit(1 if findings else 0)


def main() -> None:
    """Run the command; a refusal is one line and exit code 1."""
    logging.basicConfig(level=logging.ERROR, format="jqueue-archive: %(message)s")
    try:
        cli()
    except (JQueueError, OSError) as error:
        click.echo(f"jqueue-archive: {error}", err=True)
        sys.exit(1)
