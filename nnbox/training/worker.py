"""What a loader's worker process runs: batches made on request and sent as raw bytes through one pipe. No torch here.

Requests are JSON texts: ``{"plan": …, "first": a, "last": b, "stride": n}`` (make every n-th batch of a..b-1 and send
each) and ``"stop"`` (leave the request, say ``"stopped"``). Answers are a JSON header, followed for a batch by the
bytes of the image and of the labels; ``"starved"`` says that memory ran out, and leaves the request. A closed pipe ends
the process: so no worker outlives its parent.
"""

from __future__ import annotations

import contextlib
import json
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from nnbox.errors import NnboxError
from nnbox.interruption import ignore_signals
from nnbox.records.codec import decode, encode
from nnbox.threads import keep_to_one_thread
from nnbox.training.draw import SamplingPlan
from nnbox.training.sample import Batch, Sampler

STOP = "stop"
STOPPED = "stopped"
STARVED = "starved"


def serve(connection: Connection[Any, Any]) -> None:
    """Answer requests until the pipe is closed."""
    ignore_signals()
    keep_to_one_thread()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            request = json.loads(connection.recv_bytes())
            if request == STOP:
                _send_header(connection, STOPPED)
            else:
                _make_batches(connection, request)


def _make_batches(connection: Connection[Any, Any], request: dict[str, Any]) -> None:
    """Send the requested batches; stop early when another request arrives, or after an error was sent."""
    sampler = Sampler(decode(request["plan"], SamplingPlan, where="request"))
    for index in range(request["first"], request["last"], request["stride"]):
        if connection.poll():
            return
        try:
            batch = sampler.batch(index)
        except NnboxError as error:
            _send_header(connection, {"error": str(error), "exit_code": error.exit_code})
            return
        except MemoryError:
            _send_header(connection, STARVED)
            return
        send_batch(connection, batch)


def request_bytes(plan: SamplingPlan, first: int, last: int, stride: int) -> bytes:
    """Return the request for every ``stride``-th batch of first..last-1."""
    request = {"plan": encode(plan), "first": first, "last": last, "stride": stride}
    return json.dumps(request).encode()


def send_batch(connection: Connection[Any, Any], batch: Batch) -> None:
    """Send a batch: its shapes, then the bytes of its arrays."""
    _send_header(connection, {"image": batch.image.shape, "labels": batch.labels.shape})
    for array in (batch.image, batch.labels):
        connection.send_bytes(np.ascontiguousarray(array).data.cast("B"))


def receive_header(connection: Connection[Any, Any]) -> Any:
    """Receive the header of an answer."""
    return json.loads(connection.recv_bytes())


def receive_arrays(connection: Connection[Any, Any], header: dict[str, Any]) -> Batch:
    """Receive the arrays that a batch's header announces."""
    image = np.empty(header["image"], dtype=np.float32)
    labels = np.empty(header["labels"], dtype=np.int16)
    for array in (image, labels):
        connection.recv_bytes_into(array.data.cast("B"))
    return Batch(image=image, labels=labels)


def _send_header(connection: Connection[Any, Any], header: Any) -> None:
    connection.send_bytes(json.dumps(header).encode())
