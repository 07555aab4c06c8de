"""Logging through the server's own logger, with the request id in every line."""

import logging

from flask import has_request_context

from .request_id import request_id

LINE = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"


def wire_logger(logger: logging.Logger, level: str) -> None:
    """Log to where gunicorn logs, at its level, or else to standard error at the given level."""
    gunicorn = logging.getLogger("gunicorn.error")
    if gunicorn.handlers:
        logger.handlers = gunicorn.handlers[:]
        logger.setLevel(gunicorn.level)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(LINE))
        logger.handlers = [handler]
        logger.setLevel(level)
    logger.propagate = False
    logger.addFilter(add_request_id)


def add_request_id(record: logging.LogRecord) -> bool:
    """Put the request id, or "-" outside of a request, before the message: this works with any handler's format."""
    record.msg = f"[{request_id() if has_request_context() else '-'}] {record.msg}"
    return True
