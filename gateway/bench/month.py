"""`--month`: the simulated month of the tests, knocked at the front doors as fast as they are opened.

Its stories happen in an August; what a desk signs and lets expire (form tokens, chat sessions) is signed again for
today with the same desk's keys, and what only a poll would find is left out. Whether the month ends on the right
tickets is what `tests/simulation` proves; here its mix of languages, sizes, duplicates and pieces of calls is the load.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from adapters.chat import Chat
from adapters.webform import WebForm
from gateway.bench.client import BenchError
from gateway.bench.content import Item
from gateway.bench.doors import Doors

_KEY: Final = "k" * 32  # what the simulated desk signs with; the desk that is measured must have the same
_OLDEST: Final = 20 * 3600.0  # seconds; an older form token would be refused

_TRUSTED: Final = {"channel": "email", "authserv_ids": ["mx.desk.test"], "authserv_beneath": True}

SETTINGS: Final[Mapping[str, Any]] = {
    "support": {**_TRUSTED, "domains": ["desk.test"]},
    "billing": {**_TRUSTED, "addresses": ["billing@desk.test"]},
    "contact": {"token_key": _KEY},
    "website": {"session_key": _KEY},
}


def write_month(messages: int, doors: Doors, seed: int = 1) -> list[Item]:
    """About so many messages, as what arrives for them: a third more. Raises BenchError outside a checkout."""
    try:
        simulation = importlib.import_module("tests.simulation.month")
        adapters = importlib.import_module("tests.simulation.desk").inboxes()
    except ModuleNotFoundError:
        raise BenchError("the simulated month is part of the checkout; run `make bench` there") from None
    resigned = _Resigned(adapters["contact"], adapters["website"])
    found = [_knock(delivery, doors, resigned) for delivery in simulation.simulate(messages, seed)]
    return [item for item in found if item is not None]


def _knock(delivery: Any, doors: Doors, resigned: _Resigned) -> Item | None:
    raw = delivery.raw
    match delivery.inbox:
        case "contact":
            key = raw.request.headers.get("Idempotency-Key", "") if raw.request else ""
            return doors.form(resigned.form(raw.body, raw.content_type, delivery.at.timestamp()), raw.content_type, key)
        case "website":
            said = json.loads(raw.body)
            return doors.chat(resigned.session(raw.facts["token"]), said["client_msg_id"], said["text"])
        case "twitter":
            return None if raw.facts.get("source") == "poll" else doors.post(raw.body)
        case "phone":
            return doors.call(raw.request.tail, dict(parse_qsl(raw.body.decode(), keep_blank_values=True)))
        case _:
            return doors.mail(raw.facts["mail_from"], raw.body, raw.facts["rcpt_tos"])


class _Resigned:
    """The same tokens for the same tokens, valid today."""

    def __init__(self, form: WebForm, chat: Chat) -> None:
        self._form, self._chat = form, chat
        self._now = time.time()
        self._sessions: dict[str, str] = {}
        self._issued: dict[str, float] = {}  # nonce -> when its page is said to have been opened

    def form(self, body: bytes, content_type: str, at: float) -> bytes:
        if content_type != "application/x-www-form-urlencoded":
            return body
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        if "form_token" in fields:
            _, _, issued, nonce, _ = fields["form_token"].split(".")
            age = min(at - float(issued), _OLDEST)
            fields["form_token"] = self._form.issue_token(self._issued.setdefault(nonce, self._now - age), nonce)
        return urlencode(fields).encode()

    def session(self, token: str) -> str:
        if token not in self._sessions:
            session = self._chat.read_token(token, 0)
            lasting = session.model_copy(update={"expires": int(self._now) + 86_400})
            self._sessions[token] = self._chat.sign(lasting)
        return self._sessions[token]
