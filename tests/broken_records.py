"""Records nobody can answer, each with the reason it must end with. Every value that has room holds SECRET."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from schemas.dead_letter import Reason
from schemas.request import REQUEST_TYPE
from schemas.topics import MAX_VALUE_BYTES

SECRET = "the-prompt-of-a-customer"
_ID = "0199f3a2-7c1e-7d3a-9b53-5f1c2a6e8d04"
_STRUCTURED = [("content-type", b"application/cloudevents+json")]


@dataclass(frozen=True, slots=True)
class Broken:
    name: str
    reason: Reason
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def _request(**given: Any) -> bytes:
    """A good request but for what is given; None leaves a field out."""
    fields = {"request_id": _ID, "tenant": "broken", "messages": [{"role": "user", "content": SECRET}]} | given
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def _event_headers(specversion: bytes, event_type: str) -> tuple[tuple[str, bytes], ...]:
    return (("ce_specversion", specversion), ("ce_type", event_type.encode()), ("ce_id", b"1"), ("ce_source", b"/x"))


BROKEN = (
    Broken("a tombstone", "empty_value", None),
    Broken("an empty value", "empty_value", b""),
    Broken("garbage", "not_json", b"\x00\x01\x02" + SECRET.encode() + bytes(range(256))),
    Broken("truncated JSON", "not_json", _request()[:-5]),
    Broken("invalid UTF-8 in JSON", "not_json", _request().replace(b"customer", b"custo\xff\xfe")),
    Broken("JSON that is no object", "invalid_request", json.dumps([SECRET]).encode()),
    Broken("no tenant", "invalid_request", _request(tenant=None)),
    Broken("an id that is no UUID", "invalid_request", _request(request_id=SECRET)),
    Broken("messages and template", "invalid_request", _request(template="config-review@1")),
    Broken("a type of somebody else's", "unknown_type", _request(), _event_headers(b"1.0", "com.example.order.v1")),
    Broken("another specversion", "invalid_event", _request(), _event_headers(b"0.3", REQUEST_TYPE)),
    Broken("a structured event without attributes", "invalid_event", _request(), tuple(_STRUCTURED)),
    Broken("more than a mebibyte", "oversize", _request(system=SECRET + "x" * MAX_VALUE_BYTES)),
)

# Long enough to shrink: what does not is sent without compression.
UNREADABLE = Broken("a header name that is not UTF-8", "unreadable_record", _request(system=SECRET * 50))

# No Kafka library writes such a name on purpose; aiokafka's pure Python builder can be told to. In the topic's own
# codec, because the broker mends the name when it compresses anew.
_WRITE_UNREADABLE = """
import asyncio, sys
from aiokafka import AIOKafkaProducer

class NotUtf8(str):
    def encode(self, *_):
        return b"\\xff\\xfe"

async def main(server, topic, partition):
    producer = AIOKafkaProducer(bootstrap_servers=server, compression_type="lz4")
    await producer.start()
    value = sys.stdin.buffer.read()
    sent = await producer.send_and_wait(topic, value, partition=int(partition), headers=[(NotUtf8("x"), b"y")])
    await producer.stop()
    print(sent.offset)

asyncio.run(main(*sys.argv[1:]))
"""


def publish_unreadable(kafka: str, topic: str, partition: int) -> int:
    """Write `UNREADABLE`; its offset."""
    written = subprocess.run(
        [sys.executable, "-c", _WRITE_UNREADABLE, kafka, topic, str(partition)],
        input=UNREADABLE.value,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
        env={**os.environ, "AIOKAFKA_NO_EXTENSIONS": "1"},
    )
    return int(written.stdout)
