"""`/metrics` and `/healthz` of one process."""

from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

HealthCheck = Callable[[], str | None]
"""None when healthy, else what is wrong. Called from another thread."""


def serve_health(host: str, port: int, check: HealthCheck) -> int:
    """Answer in a daemon thread until the process ends; the port that was taken (`port`, or a free one for 0)."""
    metrics = make_wsgi_app()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        problem = check()
        status = "200 OK" if problem is None else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [(problem or "ok").encode() + b"\n"]

    server = make_server(host, port, application, WSGIServer, _Quiet)
    Thread(target=server.serve_forever, name="health", daemon=True).start()
    return int(server.server_port)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Say nothing: a probe each second is not news."""
