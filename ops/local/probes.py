"""Whether a loopback HTTP server says it is well."""

import http.client
from urllib.parse import urlsplit


def answers_http(url: str, within_seconds: float = 2.0) -> bool:
    """Whether GET gives 200; goes straight to the address, whatever proxy the environment names."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=within_seconds)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
