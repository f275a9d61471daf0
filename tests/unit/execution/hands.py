"""A loop and a channel in the hands of a test."""

import select
from collections import deque

from jqueue.errors import JQueueError
from jqueue.execution.loop import Result
from jqueue.queue.answer import Answered, answer_of


class HandTimer:
    """Fires when the test calls it, unless it was called off."""

    def __init__(self, delay_s, call):
        self.delay_s, self.call = delay_s, call

    def __call__(self):
        if self.call is not None:
            self.call()

    def cancel(self):
        self.call = None


class HandLoop:
    """A loop that turns when the test says so, and whose appends can be made to fail."""

    def __init__(self, store):
        self.store = store
        self.begun, self.soon, self.later = deque(), deque(), []
        self.watched = {}
        self.failing = None
        self.after_turn = lambda: None

    def begin(self, decide, then):
        error = self.failing
        self.begun.append((None if error else self.store.begin(decide), then, error))

    begin_submission = begin

    def turn(self):
        while True:
            while self.soon:
                self.soon.popleft()()
            self.after_turn()
            if not self.begun:
                if not self.soon:
                    return
                continue
            ticket, then, error = self.begun.popleft()
            self.store.flush()
            then(Result(error=error) if error else self.result(ticket))

    def result(self, ticket):
        try:
            committed = ticket.wait()
        except Answered as answered:
            return Result(answered.answer)
        except JQueueError as error:
            return Result(error=error)
        return Result(answer_of(committed), committed.lsn)

    def call_later(self, delay_s, call):
        self.later.append(HandTimer(delay_s, call))
        return self.later[-1]

    def call_threadsafe(self, call):
        self.soon.append(call)

    def watch(self, fd, call):
        self.watched[fd] = call

    def unwatch(self, fd):
        del self.watched[fd]

    def wait(self):
        """Turn once the kernel, or another thread, has something to say."""
        ready, _, _ = select.select(list(self.watched), [], [], 0.01)
        for fd in ready:
            if fd in self.watched:
                self.watched[fd]()
        self.turn()


class FakeChannel:
    def __init__(self):
        self.sent, self.open = [], True

    def send(self, message):
        self.sent.append(message)

    def take(self):
        taken, self.sent = self.sent, []
        return taken

    def read_out(self):
        pass

    def close(self):
        self.open = False
