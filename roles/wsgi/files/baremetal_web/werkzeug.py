# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the app with Werkzeug's development server, through ``flask run`` where it is a Flask application."""

from __future__ import annotations

import logging
import os

from baremetal_web.launch import listen, options, serve


def main() -> None:
    """Listen, then serve in as many processes as wanted."""
    wanted = options()
    place = os.environ["APP_SOCKET"]
    listener = listen(wanted["backlog"])
    os.set_inheritable(listener.fileno(), True)
    # Werkzeug's reloader hands its socket over in this way; the mode of one that it makes itself shuts nginx out.
    os.environ.update(WERKZEUG_SERVER_FD=str(listener.fileno()), WERKZEUG_RUN_MAIN="true")
    if not wanted["access_log_enabled"]:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
    host, port = f"unix://{place}", "0"
    if not place.startswith("/"):
        host, _colon, port = place.rpartition(":")

    def work() -> None:
        # Flask asks for a Flask application, so what every server gets goes inside it.
        from flask import Flask
        from flask.cli import cli
        from werkzeug.serving import run_simple

        from baremetal_web import entry

        app = entry.load(os.environ["APP_ENTRYPOINT"])
        threads = wanted["threads"] > 1
        if not isinstance(app, Flask):
            run_simple(host, int(port), entry.wsgi(app), threaded=threads)
            return
        app.wsgi_app = entry.wsgi(app.wsgi_app)  # type: ignore[method-assign]
        entry.application = app
        concurrency = "--with-threads" if threads else "--without-threads"
        cli.main(["--app", "baremetal_web.entry:application", "run", "--host", host, "--port", port, concurrency])

    serve(wanted["workers"], work)


if __name__ == "__main__":
    main()
