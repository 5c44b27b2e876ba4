"""What handlers find in the application: the runtime, the clock, and the state that lives as long as the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from gateway.runtime import Runtime
    from gateway.web.limits import Limits

RUNTIME: Final[web.AppKey[Runtime]] = web.AppKey("runtime")
CLOCK: Final[web.AppKey[Callable[[], float]]] = web.AppKey("clock")  # epoch seconds; tests hand in their own
LIMITS: Final[web.AppKey[Limits]] = web.AppKey("limits")
