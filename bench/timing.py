"""How often a second."""

import threading
import time


def per_second(call, count, threads=1):
    """Return how often a second `call` ran when each of so many threads ran it `count` times."""

    def work():
        for _ in range(count):
            call()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return threads * count / (time.perf_counter() - began)
