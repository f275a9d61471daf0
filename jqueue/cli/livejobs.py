"""Jobs at work on a terminal: their lines run up the screen, their progress stays below."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from jqueue.cli.news import News
from jqueue.cli.waiting import NOBODY
from jqueue.cli.watching import event_lines
from jqueue.console.secrets import shown_summary
from jqueue.console.show import COLORS, bar, ellipsis
from jqueue.console.table import shortened
from jqueue.console.terminal import printable
from jqueue.console.times import now, span
from jqueue.job.snapshot import Job
from jqueue.job.transitions import next_op


class LiveJobs:
    """A context manager: a line for each job that has not ended, below all that is told."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._news = News()
        self._jobs: dict[int, Job] = {}
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            # For the clock alone: what happens is shown when it does.
            refresh_per_second=1,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def tell(self, job: Job) -> None:
        """Print what is new, and draw the rest anew."""
        if job.finalized:
            self._jobs.pop(job.id, None)
        else:
            self._jobs[job.id] = job
        for event in self._news.of(job):
            for line in event_lines(event):
                self._console.print(Text.from_ansi(line), soft_wrap=True)
        self._live.refresh()

    def absent(self) -> None:
        """Say it above the picture."""
        self._console.print(NOBODY, style="yellow")

    def _picture(self) -> Group:
        jobs = [self._jobs[job] for job in sorted(self._jobs)]
        columns, rows = self._console.size
        most = max(rows // 2, 1)
        at = now()
        lines = [job_line(job, at, columns) for job in jobs[:most]]
        if len(jobs) > most:
            lines[-1] = Text(f"{ellipsis()} and {len(jobs) - most + 1} more", "dim")
        return Group(*lines)


def job_line(job: Job, at: datetime, columns: int) -> Text:
    """One line about a job that has not ended: how far its opcode is, and for how long."""
    index = next_op(job.document)
    op = job.ops[0 if index is None else index]
    begun = op.executed if op.status == "running" else job.received
    lasts = "" if begun is None else f" {span(max((at - begun).total_seconds(), 0.0))}"
    steps = f" {op.index + 1}/{len(job.ops)}" if len(job.ops) > 1 else ""
    progress = bar(op.progress, 10) if op.status == "running" else None
    line = Text.assemble(f"{job.id} ", (str(job.status), COLORS.get(job.status, "")), steps, lasts)
    rest = f"  {progress}" if progress else ""
    line.append(printable(f"{rest}  {shown_summary(op)}"))
    return Text(shortened(line.plain, columns), spans=line.spans)
