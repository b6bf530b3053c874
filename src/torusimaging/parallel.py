"""Work in parallel, by one door: threads, processes, and the workers of dask.distributed.

Each is a context that takes calls by `submit` and gives futures.  Whoever adds results up does so
in the order of the calls, so that their number and kind of workers change nothing.
"""

import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from typing import Any

AHEAD = 3  # calls for each worker that may be under way: bounds the memory


def cores() -> int:
    """The number of cores, or 1 where it is not known."""
    return os.cpu_count() or 1


class Threads:
    """Threads, for work that leaves the interpreter's lock: compiled programs, reading, numpy."""

    def __init__(self, n: int | None = None):
        n = cores() if n is None else n
        self.pool, self.limit = ThreadPoolExecutor(n), AHEAD * n

    def submit(self, function: Callable, *arguments: Any) -> Future:
        """The future of a call."""
        return self.pool.submit(function, *arguments)

    def map(self, function: Callable, items: Any) -> Iterator[Any]:
        """Results of the function for each item, in their order."""
        return self.pool.map(function, items)

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *_) -> None:
        self.pool.shutdown(cancel_futures=True)


class Cluster:
    """Workers of dask.distributed; those that die are replaced by others.

    `client` is a ``distributed.Client`` or the address of a scheduler.  Raises ``ValueError`` for
    anything else, for one that is not connected, and without dask.distributed.
    """

    def __init__(self, client: Any):
        try:
            from distributed import Client
        except ImportError:
            raise ValueError(
                "client needs dask.distributed: pip install 'orbital-torus-imaging[scale]'."
            ) from None
        self.own = not isinstance(client, Client)
        if isinstance(client, Client) and client.status != "running":
            raise ValueError(f"client must be connected to a scheduler, but is {client.status}.")
        try:
            self.client = Client(client, timeout=10) if self.own else client
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"client must be a dask.distributed.Client or the address of a scheduler, but "
                f"{client!r} was given: {' '.join(str(error).split())}."
            ) from None
        self.limit = AHEAD * max(1, sum(self.client.nthreads().values()))

    def submit(self, function: Callable, *arguments: Any) -> Any:
        """The future of a call."""
        # The same call is another task each time, and is never taken from a cache.
        return self.client.submit(function, *arguments, pure=False)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_) -> None:
        if self.own:
            self.client.close()


def in_processes(
    function: Callable, shared: Any, items: list, processes: int, begin: Callable[[], None]
) -> Iterator[Any]:
    """``function(shared, item)`` of each item, in the order in which they end.

    In new worker processes, each of which calls `begin` first; in this one for a single process.
    Raises ``ValueError`` for what cannot be sent to others and ``RuntimeError`` where they die.
    """
    if processes <= 1:
        yield from (function(shared, item) for item in items)
        return
    try:
        pickle.dumps(shared)
    except (pickle.PicklingError, AttributeError, TypeError):
        raise ValueError(
            "processes must be 1 for a model with functions that cannot be sent to other "
            f"processes, but {processes} was given."
        ) from None
    before = set(active_children())
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=begin)
    try:
        for future in as_completed([pool.submit(function, shared, item) for item in items]):
            yield future.result()
    except BrokenProcessPool:
        raise RuntimeError(
            "the worker processes ended before their time: call calibrate below "
            'if __name__ == "__main__": in a script, or use processes=1.'
        ) from None
    except BaseException:
        for process in set(active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
