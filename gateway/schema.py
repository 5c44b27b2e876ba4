"""The JSON Schema of the queue contract, generated from `normalizer.message` into `deploy/schema/`.

Other teams bind their own queue to the exchange and read these files; `tests/test_docs.py` keeps them true.
Write them again with `python -m gateway.schema`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from normalizer.message import MESSAGE_TYPE, TALLY_TYPE, UPDATE_TYPE, Message, Tally, Update

FOLDER: Final = Path(__file__).parent.parent / "deploy" / "schema"
MODELS: Final[dict[str, type[BaseModel]]] = {MESSAGE_TYPE: Message, UPDATE_TYPE: Update, TALLY_TYPE: Tally}


def json_schema(wire_type: str) -> dict[str, Any]:
    """JSON Schema 2020-12 of the body of a queue message of this AMQP `type`. Raises KeyError for an unknown one."""
    model = MODELS[wire_type]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{wire_type.replace('.', ':')}",
        **model.model_json_schema(mode="serialization"),
        "title": wire_type,
    }


def rendered(wire_type: str) -> str:
    """The file's text."""
    return json.dumps(json_schema(wire_type), indent=2, sort_keys=True) + "\n"


def write_all(folder: Path = FOLDER) -> list[Path]:
    """Write one file a message type; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for wire_type in MODELS:
        path = folder / f"{wire_type}.json"
        path.write_text(rendered(wire_type), encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    write_all()
