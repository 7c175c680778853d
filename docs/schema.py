"""Writes the JSON Schemas of what the line publishes, from the code, beside this file."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from edge.messages import Alarm, Heartbeat, Verdict

SCHEMAS = {"verdict.schema.json": Verdict, "heartbeat.schema.json": Heartbeat, "alarm.schema.json": Alarm}


def schema_text(message: type[Verdict] | type[Heartbeat] | type[Alarm]) -> str:
    return json.dumps(msgspec.json.schema(message), indent=2) + "\n"


if __name__ == "__main__":
    for name, message in SCHEMAS.items():
        (Path(__file__).parent / name).write_text(schema_text(message))
