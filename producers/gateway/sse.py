"""Server-sent events, as the HTML standard has them: bytes of frames."""

from typing import Final

EVENT_STREAM: Final = "text/event-stream"
HEARTBEAT_SECONDS: Final = 15.0
RETRY_MS: Final = 2000
STREAM_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""No proxy on the way may keep events back."""


def frame(event: str, data: bytes, event_id: str | None = None) -> bytes:
    """One event. `data` has no line breaks."""
    identity = b"" if event_id is None else b"id: %s\n" % event_id.encode()
    return b"%sevent: %s\ndata: %s\n\n" % (identity, event.encode(), data)


def opening(event_id: str) -> bytes:
    """The first frame: how soon to come again, and from where; a client sees no event."""
    return b"retry: %d\nid: %s\n\n" % (RETRY_MS, event_id.encode())


def heartbeat(event_id: str | None = None) -> bytes:
    """A sign of life that also moves the client's position on; a client sees no event."""
    identity = b"" if event_id is None else b"id: %s\n" % event_id.encode()
    return b": heartbeat\n%s\n" % identity
