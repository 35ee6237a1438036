"""A client that uploads one bulk job and does not give up: the same again until all is in."""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

_PIECES: Final = 100
_ANSWER_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 0.5


class PatientUpload:
    """Uploads to the `gateway` of `endpoints.json` in a thread of its own, over about `seconds`.

    When it is cut it is sent again, whole, under the same key.
    """

    def __init__(self, gateway: str, items: Sequence[dict[str, Any]], seconds: float) -> None:
        parts = urlsplit(gateway)
        self._address = f"{parts.hostname}:{parts.port}"
        self._headers = {
            "Authorization": f"Bearer {parts.password}",
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": str(uuid4()),
        }
        lines = [json.dumps(item).encode() + b"\n" for item in items]
        size = -(-len(lines) // _PIECES)
        self._pieces = [b"".join(lines[at : at + size]) for at in range(0, len(lines), size)]
        self._pause_seconds = seconds / _PIECES
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._insist, name="upload", daemon=True)
        self.attempts = 0
        self.sent_share = 0.0
        """Of the attempt that goes on."""
        self.receipt: dict[str, Any] | None = None
        """What the gateway answered when all was in."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def verdicts(self) -> list[dict[str, Any]]:
        """The verdict of each item, in their order."""
        if self.receipt is None:
            raise RuntimeError("the upload has not been taken in")
        told: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = self._ask("GET", f"/v1/bulk/{self.receipt['id']}/lines?after={after}")[1]
            told += page["lines"]
            after = page["next"]
        return told

    def _insist(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._may_begin():
                    self.attempts += 1
                    status, answer = self._ask("POST", "/v1/bulk", self._paced())
                    if status == http.HTTPStatus.ACCEPTED:
                        self.receipt = answer
                        return
            except (OSError, http.client.HTTPException, ValueError):
                self.sent_share = 0.0  # the gateway died
            self._stopping.wait(_AGAIN_SECONDS)

    def _may_begin(self) -> bool:
        """Whether the gateway is there and takes no earlier attempt for alive: else it would refuse what is sent."""
        status, answer = self._ask("GET", "/v1/bulk?limit=1")
        return status == http.HTTPStatus.OK and all(job["state"] != "uploading" for job in answer["jobs"])

    def _paced(self) -> Iterator[bytes]:
        for number, piece in enumerate(self._pieces, 1):
            yield piece
            self.sent_share = number / len(self._pieces)
            time.sleep(self._pause_seconds)

    def _ask(self, method: str, path: str, content: Iterator[bytes] | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self._address, timeout=_ANSWER_SECONDS)
        try:
            self.sent_share = 0.0
            connection.request(method, path, content, self._headers, encode_chunked=content is not None)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()
