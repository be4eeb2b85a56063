"""What travels between the caller and a worker: batches as Arrow IPC, and errors of the function as plain data.

An error of the function is an answer like any other. No engine can take it for a lost worker and run the partition
again, none has to pickle an exception that cannot be pickled, and it reads the same from every engine.

Functions and errors are pickled between a caller and the workers it has started or joined, as every engine does it;
nothing that is kept or that comes from outside is.
"""

import pickle
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import TypeVar

import pyarrow as pa

from dropout_risk.engines import Function
from dropout_risk.errors import EngineError

Answer = tuple[bool, bytes]
"""True and a packed batch, or False and a packed error."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def pack(batch: pa.RecordBatch) -> bytes:
    """Return a batch as an Arrow IPC stream; of a slice only its own rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def unpack(payload: bytes) -> pa.RecordBatch:
    """Return the batch that `pack` has packed."""
    with pa.ipc.open_stream(payload) as reader:
        return reader.read_next_batch()


def answer(function: Function, payload: bytes) -> Answer:
    """Run in the worker: return the packed result, or what the function said against it."""
    try:
        return True, pack(function(unpack(payload)))
    except (Exception, SystemExit) as error:
        return False, _pack_error(error)


def answer_pickled(function: bytes, payload: bytes) -> Answer:
    """Run `answer`; a function that cannot be read here is an error to tell, not a worker that dies."""
    try:
        known = pickle.loads(function)
    except Exception as error:
        return False, _pack_error(error)
    return answer(known, payload)


def opened(reply: Answer) -> pa.RecordBatch:
    """Return the batch of an answer, or raise the function's error: as itself wherever it can be rebuilt."""
    is_batch, payload = reply
    if is_batch:
        return unpack(payload)
    words, where, pickled = pickle.loads(payload)
    error = _rebuilt(pickled) or EngineError(words)
    error.add_note(f"In the worker:\n{where}")
    raise error


def in_flight(
    submit: Callable[[Job], "Future[Result]"], jobs: Iterator[Job], width: int
) -> Iterator[tuple[Job, "Future[Result]"]]:
    """Yield jobs as they are done, with never more than `width` handed in; on the way out nothing is left running."""
    flying: dict[Future[Result], Job] = {}
    try:
        while True:
            flying.update((submit(job), job) for job in islice(jobs, width - len(flying)))
            if not flying:
                return
            future = next(iter(wait(flying, return_when=FIRST_COMPLETED).done))
            yield flying.pop(future), future
    finally:
        for future in flying:
            future.cancel()
        wait(flying)


def _pack_error(error: BaseException) -> bytes:
    pickled = None
    try:
        # Some exceptions pickle but cannot be read again; better to find out here. An exit may not end the caller.
        if isinstance(error, Exception) and str(pickle.loads(pickle.dumps(error))) == str(error):
            pickled = pickle.dumps(error)
    except Exception:
        pickled = None
    words = f"{type(error).__name__}: {error}"
    return pickle.dumps((words, "".join(traceback.format_exception(error)), pickled))


def _rebuilt(pickled: bytes | None) -> BaseException | None:
    if pickled is None:
        return None
    try:
        error = pickle.loads(pickled)
    except Exception:  # its class is known to the worker only
        return None
    return error if isinstance(error, BaseException) else None
