"""The two calls of Confluent's schema registry API that we make, as a server in this process.

There is no registry to be had from a package: this one is ours, written after the API's documentation.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid5


@dataclass
class Registered:
    """What the registry holds, and what it was sent."""

    gives_guids: bool = True
    schemas: dict[str, list[str]] = field(default_factory=dict)
    authorizations: list[str | None] = field(default_factory=list)
    refuses: str | None = None
    url: str = ""

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body, as the API has them."""
        if self.refuses is not None:
            return 409, {"error_code": 409, "message": self.refuses}
        assert body["schemaType"] == "JSON"
        json.loads(body["schema"])
        match [unquote(part) for part in path.strip("/").split("/")]:
            case ["subjects", subject, "versions"]:
                versions = self.schemas.setdefault(subject, [])
                if body["schema"] not in versions:
                    versions.append(body["schema"])
                return 200, self._told(subject, body["schema"])
            case ["subjects", subject] if subject not in self.schemas:
                return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
            case ["subjects", subject] if body["schema"] not in self.schemas[subject]:
                return 404, {"error_code": 40403, "message": "Schema not found"}
            case ["subjects", subject]:
                return 200, self._told(subject, body["schema"]) | {"subject": subject}
            case _:
                return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _told(self, subject: str, schema: str) -> dict[str, Any]:
        texts = list(dict.fromkeys(text for versions in self.schemas.values() for text in versions))
        told = {"id": texts.index(schema) + 1, "version": self.schemas[subject].index(schema) + 1}
        return told | ({"guid": str(uuid5(UUID(int=0), schema))} if self.gives_guids else {})


@contextlib.contextmanager
def schema_registry(*, gives_guids: bool = True) -> Iterator[Registered]:
    held = Registered(gives_guids)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            held.authorizations.append(self.headers["authorization"])
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer = held.answer(self.path, body)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
