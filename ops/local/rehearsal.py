"""The rehearsal model server (`ops.rehearsal`), as a part."""

import sys

from ops.local.part import Command, Part, Server
from ops.local.ports import LOOPBACK, choose_port
from ops.local.probes import answers_http

USUAL_PORT = 8787


def rehearsal_server(usual_port: int = 0) -> Server:
    """A Messages API that answers without a model; what it says is made up."""
    port = choose_port(usual_port)
    url = f"http://{LOOPBACK}:{port}"
    command = Command((sys.executable, "-m", "ops.rehearsal", "--host", LOOPBACK, "--port", str(port)))
    part = Part("rehearsal", "model", command, f"{LOOPBACK}:{port}", lambda: answers_http(f"{url}/_rehearsal/health"))
    return Server(part, url)
