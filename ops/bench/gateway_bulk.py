"""`headrace bench gateway`, bulk part: items a second taken in, each checked and confirmed by the broker (acks=all).

The uploader is curl, the gateway one process on private servers.
"""

import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import uuid4

import psutil

from ops.bench.gateway import Stage, gateway_stage
from ops.bench.report import Bar, Report
from ops.local.gateway import GatewayPlace

TARGET_ITEMS_PER_SECOND: Final = 20_000
_UPLOAD_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Size:
    """Items of each upload."""

    items: int = 100_000


def run(rounds: int = 3, size: Size | None = None) -> Report:
    """On servers of its own. Raises RuntimeError where curl is missing or an upload fails."""
    chosen = size or Size()
    if shutil.which("curl") is None:
        raise RuntimeError("the uploader of this bench is curl; install it")
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as home, gateway_stage(Path(home)) as stage:
        rows = [
            _upload(stage, form, chosen.items, number)
            for number in range(1, rounds + 1)
            for form in ("prompts", "templates")
        ]
    value = median(row["items_per_second"] for row in rows if row["form"] == "prompts")
    notes = ["One granian worker, acks=all, NDJSON by curl. `prompts`: messages of 200 bytes; `templates`: a fleet's."]
    return Report("gateway-bulk", [Bar("bulk items per second", value, TARGET_ITEMS_PER_SECOND)], rows, notes)


class GatewayUse:
    """What the gateway's process uses."""

    def __init__(self, stage: Stage) -> None:
        self._process = psutil.Process(stage.process.pid)

    @property
    def rss_mib(self) -> float:
        return round(self._process.memory_info().rss / 2**20, 1)

    @property
    def cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def _upload(stage: Stage, form: str, items: int, number: int) -> dict[str, Any]:
    content, gateway = stage.home / f"{form}.jsonl", GatewayUse(stage)
    if not content.exists():
        content.write_text("".join(json.dumps(_item(form, each)) + "\n" for each in range(items)))
    began, cpu = time.perf_counter(), gateway.cpu_seconds
    receipt = _curl(stage.place, content)
    seconds = time.perf_counter() - began
    if (receipt.get("state"), receipt.get("accepted")) != ("sealed", items):
        raise RuntimeError(f"the upload was not taken in: {receipt.get('code') or receipt.get('rejections', [])[:3]}")
    return {
        "form": form,
        "round": number,
        "items": items,
        "mebibytes": round(content.stat().st_size / 2**20, 1),
        "items_per_second": round(items / seconds),
        "gateway_cpu_us_per_item": round((gateway.cpu_seconds - cpu) / items * 1e6, 1),
        "gateway_rss_mib": gateway.rss_mib,
    }


def _curl(place: GatewayPlace, content: Path) -> dict[str, Any]:
    headers = (
        f"Authorization: Bearer {place.key}",
        "Content-Type: application/x-ndjson",
        f"Idempotency-Key: {uuid4()}",
    )
    options = [option for header in headers for option in ("-H", header)]
    argv = [
        "curl",
        "-sS",
        "-X",
        "POST",
        "-T",
        str(content),
        *options,
        "-H",
        "Expect:",
        f"http://{place.address}/v1/bulk",
    ]
    done = subprocess.run(argv, capture_output=True, timeout=_UPLOAD_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"curl failed: {done.stderr.decode(errors='replace')[:200]}")
    receipt: dict[str, Any] = json.loads(done.stdout)
    return receipt


def _item(form: str, number: int) -> dict[str, Any]:
    device = f"osl-{number % 90 + 10}-acc-{number:05d}"
    who = {"user_id": f"u-{number % 500}", "department": "field-operations", "labels": {"device_name": device}}
    if form == "templates":
        wish = f"VLAN {number % 40 + 100} (users) on GigabitEthernet1/0/1 to 1/0/40, NTP 10.1.0.10, syslog 10.1.0.30"
        return {**who, "template": "network-config@1", "variables": {"device_name": device, "requirements": wish}}
    question = f"Why does port {number} of {device} flap? " + "It began this morning after the change window. " * 3
    return {**who, "messages": [{"role": "user", "content": question}]}
