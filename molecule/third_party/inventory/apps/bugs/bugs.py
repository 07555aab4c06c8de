"""Roundup; the tracker is opened with the first request, for a new host has none until its hook has run."""

import functools
import os

from roundup.cgi.wsgi_handler import RequestDispatcher


@functools.cache
def tracker():
    """Open the tracker."""
    return RequestDispatcher(os.environ["TRACKER_HOME"])


def application(environ, start_response):
    """Answer a request."""
    return tracker()(environ, start_response)
