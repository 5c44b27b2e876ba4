"""Who computes first when the machine is short of processors."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Final

_AUTOGROUP: Final = "/proc/self/autogroup"
_TRIES: Final = 20
_BETWEEN: Final = 0.05  # seconds: the kernel takes one change in a tenth of one from those who are not root


def give_way(steps: int) -> None:
    """Let others come first, by so many steps of niceness (setpriority(2)). For a process with a session of its own.

    Where Linux groups processes by session (sched(7), "The autogroup feature"; most distributions switch it on), the
    processors are shared between sessions, and niceness counts only inside of one: the session gives way as well.
    And where there are several processors, one is left to the others: who has been woken for a moment waits behind who
    computes for up to four milliseconds, whatever their priorities, when it is woken on that one's processor.
    """
    os.nice(steps)
    with contextlib.suppress(OSError, AttributeError):  # a sandbox forbids it, another system does not know it
        processors = os.sched_getaffinity(0)
        if len(processors) > 1:
            os.sched_setaffinity(0, processors - {min(processors)})
    with contextlib.suppress(OSError):  # no such thing here
        autogroup = os.open(_AUTOGROUP, os.O_WRONLY)
        try:
            lower(autogroup, steps)
        finally:
            os.close(autogroup)


def lower(autogroup: int, steps: int, *, wait: Callable[[float], None] = time.sleep) -> None:
    """Write it to the session's file; the kernel may say that it has changed another one just now."""
    for _ in range(_TRIES):
        try:
            os.write(autogroup, str(steps).encode())
        except BlockingIOError:
            wait(_BETWEEN)
        else:
            return
