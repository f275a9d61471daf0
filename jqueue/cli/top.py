"""`top`: the queue at work, live."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import click

from jqueue.cli.command import Ended, Settings, command, pass_settings
from jqueue.console.show import put_json
from jqueue.console.terminal import has_colors, put_painted, width
from jqueue.errors import JQueueError

if TYPE_CHECKING:
    from jqueue.cli.screen import Screen
    from jqueue.cli.target import Client

INTERVAL_S: Final = 1.0
SHARE: Final = 10
"""An answer that took t seconds is followed by the next request after this many t at the least."""
SILENT_S: Final = 3.0
"""After so long without an answer the screen says that it is old."""
ONCE_ROWS: Final = 20
KEYS: Final = "q quit  space hold  sort by t time, p priority, i ID"


@command("top")
@click.option("--once", is_flag=True, help="Print one screen and end; so too where there is none.")
@click.option(
    "--interval", "interval_s", type=click.FloatRange(min=0.1), default=INTERVAL_S, help="Seconds."
)
@pass_settings
def top(settings: Settings, *, once: bool, interval_s: float) -> None:
    """Show live what runs, what is next, workers, locks, rates and the journal; q ends it.

    \b
    Example:
      jqueue top
      jqueue top --once --json | jq .held
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    from jqueue.cli.screen import is_possible  # noqa: PLC0415 - rich, for this one only

    with settings.open() as queue:
        if settings.as_json:
            put_json({"queue": settings.queue_path, **queue.top(ONCE_ROWS)})
        elif once or not is_possible():
            put_once(settings.queue_path, queue.top(ONCE_ROWS))
        else:
            # Before the screen is taken: no queue at all is a message, not a picture.
            first = queue.top(ONCE_ROWS)
            try:
                watch_live(settings, queue, first, interval_s)
            except Ended as ended:
                # Ctrl-C is as good as q.
                if ended.signum != signal.SIGINT:
                    raise


def put_once(path: str, answer: dict[str, Any]) -> None:
    """Print one screen."""
    from rich.console import Console  # noqa: PLC0415 - as above

    from jqueue.cli.topframe import View, frame  # noqa: PLC0415 - as above

    lines = frame(answer, {}, View(path), width(), None)
    if not has_colors():
        for line in lines:
            put_painted(line.plain)
        return
    console = Console(highlight=False, markup=False, emoji=False)
    for line in lines:
        console.print(line, no_wrap=True, crop=False)


class Feed:
    """Asks the owner again and again, on a thread of its own: a key is heard at once meanwhile."""

    def __init__(self, queue: Client, first: dict[str, Any], interval_s: float) -> None:
        from jqueue.cli.topframe import Rates  # noqa: PLC0415 - as above

        self.answer = first
        self.answered_s = time.monotonic()
        self.error = ""
        self.rows = ONCE_ROWS
        self.rates = Rates()
        self.rates.note(first, self.answered_s)
        self._queue = queue
        self._interval_s = interval_s
        self._over = threading.Event()

    def start(self, screen: Screen) -> None:
        """Begin to ask; the screen is woken by each answer."""
        threading.Thread(target=self._run, args=(screen,), daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()

    def _run(self, screen: Screen) -> None:
        pause_s = self._interval_s
        while not self._over.wait(pause_s):
            begin_s = time.monotonic()
            try:
                answer = self._queue.top(self.rows)
            except (JQueueError, OSError) as error:
                self.error = str(error)
            else:
                now_s = time.monotonic()
                self.rates.note(answer, now_s)
                self.answer, self.answered_s, self.error = answer, now_s, ""
            pause_s = max(self._interval_s, SHARE * (time.monotonic() - begin_s))
            if not self._over.is_set():
                screen.wake()

    @property
    def remark(self) -> str:
        """What is wrong with the answer, as a person is told; nothing if it is a fresh one."""
        if self.error:
            return self.error
        silent_s = time.monotonic() - self.answered_s
        if silent_s > SILENT_S + self._interval_s:
            return f"no answer for {silent_s:.0f} s"
        return ""


def watch_live(settings: Settings, queue: Client, first: dict[str, Any], interval_s: float) -> None:
    """Show it until a key or a signal ends it."""
    from jqueue.cli.screen import Screen  # noqa: PLC0415 - as above
    from jqueue.cli.topframe import SORTS, View, frame  # noqa: PLC0415 - as above

    feed = Feed(queue, first, interval_s)
    view = View(settings.queue_path, keys=KEYS)
    held: dict[str, Any] | None = None
    had_owner = False
    with Screen() as screen, contextlib.suppress(EOFError):
        feed.start(screen)
        try:
            while True:
                columns, rows = screen.size
                feed.rows = rows
                answer = held or feed.answer
                had_owner = had_owner or answer.get("pid") is not None
                remark = "held: space goes on" if held is not None else feed.remark
                if had_owner and answer.get("pid") is None:
                    remark = "daemon gone, reconnecting"
                shown = view._replace(remark=remark)
                screen.show(frame(answer, feed.rates.rates(), shown, columns, rows))
                for key in screen.keys(interval_s):
                    if key == "q":
                        return
                    if key in SORTS:
                        view = view._replace(sort=key)
                    elif key == " ":
                        held = None if held is not None else answer
        finally:
            feed.stop()
