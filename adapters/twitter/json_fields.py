"""Reading foreign JSON: every leaf is what it should be, or empty."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

_ID: Final = re.compile(r"[0-9]{1,25}")


def read_id(value: Any) -> str:
    """A numeric id as text; empty for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if 0 <= value < 10**25 else ""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def read_text(value: Mapping[str, Any], name: str) -> str:
    """The string at `name`."""
    found = value.get(name)
    return found if isinstance(found, str) else ""


def read_map(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object at `name`."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def read_maps(value: Any) -> list[dict[str, Any]]:
    """The objects in a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def read_mentions(post: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Who is mentioned in a post: `{id, username}` each."""
    return read_maps(read_map(post, "entities").get("mentions"))


def read_media_keys(post: Mapping[str, Any]) -> list[str]:
    """Which media of the surrounding `includes` a post shows."""
    keys = read_map(post, "attachments").get("media_keys")
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def read_users(holder: Mapping[str, Any]) -> dict[str, Any]:
    """Users by id, from `includes.users` (a list) or `users` (a map), each perhaps wrapped in `data`."""
    included = read_maps(read_map(holder, "includes").get("users"))
    included += [user for user in read_map(holder, "users").values() if isinstance(user, dict)]
    bare = (read_map(user, "data") or user for user in included)
    return {read_id(user.get("id")): user for user in bare if read_id(user.get("id"))}


def read_media(holder: Mapping[str, Any]) -> dict[str, Any]:
    """Media by key, from `includes.media`."""
    return {read_text(item, "media_key"): item for item in read_maps(read_map(holder, "includes").get("media"))}


def canonical(item: Mapping[str, Any]) -> str:
    """The same text for the same object, whatever the order of its names."""
    return json.dumps(item, sort_keys=True)


def read_instant(value: Any) -> datetime | None:
    """ISO 8601 (version 2), `Sat Aug 01 09:59:50 +0000 2026` (1.1) or milliseconds (direct messages)."""
    try:
        if isinstance(value, str) and value.isdigit():
            return datetime.fromtimestamp(int(value) / 1000, UTC)
        if isinstance(value, str) and "T" in value[:11]:
            instant = datetime.fromisoformat(value)
        else:
            instant = datetime.strptime(str(value), "%a %b %d %H:%M:%S %z %Y")
    except (ValueError, OverflowError, OSError):
        return None
    return instant if instant.tzinfo else None
