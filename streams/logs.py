"""Structured logs: JSON where a machine reads, text on a terminal. Never a prompt, an answer or a secret."""

import logging
import sys
from typing import Any, Literal, cast

import structlog

Logger = structlog.typing.FilteringBoundLogger


def configure_logs(level: str, log_format: Literal["auto", "json", "text"]) -> None:
    """Send our logs and the libraries' to standard error, one event a line."""
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = structlog.dev.ConsoleRenderer() if text else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("headrace").setLevel(level.upper())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def logger_named(name: str) -> Logger:
    """The logger `headrace.<name>`; pass facts as keywords: request_id, trace_id, counts."""
    return cast("Logger", structlog.get_logger(f"headrace.{name}"))
