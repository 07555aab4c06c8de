"""Errors as JSON."""

from flask import current_app, json, request
from werkzeug.exceptions import HTTPException, ServiceUnavailable
from werkzeug.wrappers import Response

from .request_id import request_id


def answer_unavailable(error: Exception) -> Response:
    """Tell the log why the counter cannot be had, and the client only that it cannot."""
    current_app.logger.error("The counter cannot be had: %s", error)
    return answer_in_json(ServiceUnavailable("Redis, which keeps the counter, does not answer. Try again later."))


def answer_in_json(error: HTTPException) -> Response:
    """Describe the error in JSON and keep its headers, such as the Allow of a 405.

    Flask logs an unexpected exception itself and hands over a plain 500, which says nothing about the cause.
    """
    response = error.get_response(request.environ)
    response.data = json.dumps(
        {
            "error": {
                "status": error.code,
                "title": error.name,
                "detail": error.description,
                "request_id": request_id(),
            }
        }
    )
    response.content_type = "application/json"
    return response
