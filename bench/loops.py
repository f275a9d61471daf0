"""Which loop should serve the socket?  The submit path of four candidates, 1, 4 and 16 clients.

Each candidate answers a request (one LUXI message, strict JSON) with one synced append: bare epoll
with one fdatasync for all that is ready, asyncio with the sync in the loop, asyncio with the sync
in an executor thread and group commit.  Beside them the bare append + fdatasync.

    python -m bench.loops [DIR]
"""

import asyncio
import contextlib
import multiprocessing
import os
import selectors
import socket
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import orjson

SECONDS = 2.0
END = b"\x03"
REQUEST = (
    orjson.dumps(
        {
            "method": "SubmitJob",
            "args": [[{"OP_ID": "OP_TEST_DELAY", "duration": 0, "x": "x" * 280}]],
        }
    )
    + END
)


def _record(number, request):
    return orjson.dumps({"lsn": number, "changes": request["args"]}) + b"\n"


def _answer(number):
    return orjson.dumps({"success": True, "result": number}) + END


def serve_epoll(listener, file):
    poll = selectors.EpollSelector()
    listener.setblocking(False)
    poll.register(listener, selectors.EVENT_READ, None)
    serial = 0
    while True:
        records, answers = [], []
        for key, _ in poll.select():
            if key.data is None:
                connection, _ = listener.accept()
                connection.setblocking(False)
                poll.register(connection, selectors.EVENT_READ, bytearray())
                continue
            data = key.fileobj.recv(65536)
            if not data:
                poll.unregister(key.fileobj)
                key.fileobj.close()
                continue
            key.data.extend(data)
            while (end := key.data.find(END)) >= 0:
                request = orjson.loads(bytes(key.data[:end]))
                del key.data[: end + 1]
                serial += 1
                records.append(_record(serial, request))
                answers.append((key.fileobj, serial))
        if records:
            os.write(file, b"".join(records))
            os.fdatasync(file)
            for connection, number in answers:
                with contextlib.suppress(BrokenPipeError):
                    connection.send(_answer(number))


def serve_asyncio(listener, file, *, executor):  # noqa: C901 - one server, its parts inside
    pool = ThreadPoolExecutor(1) if executor else None
    gathered, serial = [], 0
    syncing = False

    def sync(data):
        os.write(file, data)
        os.fdatasync(file)

    async def lead():
        nonlocal syncing, gathered
        syncing = True
        await asyncio.sleep(0)
        while gathered:
            batch, gathered = gathered, []
            data = b"".join(record for record, _ in batch)
            if pool:
                await asyncio.get_running_loop().run_in_executor(pool, sync, data)
            else:
                sync(data)
            for _, answer in batch:
                answer()
        syncing = False

    class Served(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport, self.buffer = transport, bytearray()

        def data_received(self, data):
            nonlocal serial
            self.buffer.extend(data)
            while (end := self.buffer.find(END)) >= 0:
                request = orjson.loads(bytes(self.buffer[:end]))
                del self.buffer[: end + 1]
                serial += 1
                number = serial
                gathered.append(
                    (_record(number, request), lambda n=number: self.transport.write(_answer(n)))
                )
                if not syncing and len(gathered) == 1:
                    asyncio.get_running_loop().create_task(lead())

    async def main():
        server = await asyncio.get_running_loop().create_unix_server(Served, sock=listener)
        await server.serve_forever()

    asyncio.run(main())


LOOPS = {
    "epoll": serve_epoll,
    "asyncio, sync in the loop": lambda listener, file: serve_asyncio(
        listener, file, executor=False
    ),
    "asyncio, sync in an executor": lambda listener, file: serve_asyncio(
        listener, file, executor=True
    ),
}


def client(path, start, done):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    start.wait()
    times, end = [], time.perf_counter() + SECONDS
    while (begun := time.perf_counter()) < end:
        connection.sendall(REQUEST)
        while not connection.recv(65536).endswith(END):
            pass
        times.append(time.perf_counter() - begun)
    done.put(times)


def measure(loop, clients, directory):
    context = multiprocessing.get_context("fork")
    path = os.path.join(directory, "socket")
    file = os.open(
        os.path.join(directory, "journal"),
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND,
        0o600,
    )
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    server = context.Process(target=LOOPS[loop], args=(listener, file), daemon=True)
    server.start()
    start, done = context.Event(), context.Queue()
    processes = [context.Process(target=client, args=(path, start, done)) for _ in range(clients)]
    for process in processes:
        process.start()
    start.set()
    times = [one for _ in processes for one in done.get()]
    for process in processes:
        process.join()
    server.kill()
    server.join()
    listener.close()
    os.close(file)
    os.unlink(path)
    return (
        len(times) / SECONDS,
        statistics.median(times) * 1e6,
        statistics.quantiles(times, n=100)[98] * 1e6,
    )


def bare(directory):
    file = os.open(
        os.path.join(directory, "bare"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600
    )
    count, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        os.write(file, REQUEST)
        os.fdatasync(file)
        count += 1
    os.close(file)
    return count / SECONDS


def main():
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else ".") as directory:
        print(f"bare append + fdatasync: {bare(directory):.0f}/s")
        print(f"{'loop':30} {'clients':>7} {'req/s':>8} {'p50 us':>8} {'p99 us':>8}")
        for clients in (1, 4, 16):
            for loop in LOOPS:
                rate, median, p99 = measure(loop, clients, directory)
                print(f"{loop:30} {clients:7} {rate:8.0f} {median:8.0f} {p99:8.0f}")


if __name__ == "__main__":
    main()
