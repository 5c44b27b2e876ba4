"""An adapter that does what its arrivals say, for tests of a process that reads apart."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from adapters.base import Adapter, InboxOptions, Raw, Refused
from normalizer.message import Author, Draft, MessageDraft, Original


class Odd(Adapter[InboxOptions]):
    """The first word of an arrival is what happens."""

    channel = "odd"

    def normalize(self, raw: Raw) -> Sequence[Draft]:
        """Read, or something worse."""
        match raw.body.split()[0]:
            case b"hang":
                time.sleep(3600)
            case b"die":
                os._exit(3)
            case b"eat":
                bytearray(8 << 30)
            case b"raise":
                raise KeyError("nothing")
            case b"refuse":
                raise Refused(413, "too large", headers={"X-Why": "size"})
        print("a library says something")
        original = Original(size=len(raw.body), sha256="0" * 64, content=raw.body)
        return [MessageDraft(author=Author(kind="email"), text=str(os.getpid()), delivery_key="k", original=original)]
