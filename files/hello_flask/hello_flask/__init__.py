"""A small Flask application: the server loads it as ``hello_flask:create_app()``."""

import os
from collections.abc import Mapping

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from .config import Config
from .errors import answer_in_json, answer_unavailable
from .logs import wire_logger
from .readiness import Readiness
from .request_id import send_request_id
from .views import views


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """Build the application from the given environment variables, the process's own by default."""
    config = Config.from_environ(os.environ if environ is None else environ)
    app = Flask(__name__)
    app.config.from_object(config)
    app.extensions["readiness"] = Readiness()
    app.after_request(send_request_id)
    app.register_error_handler(HTTPException, answer_in_json)
    app.register_blueprint(views)
    wire_logger(app.logger, config.APP_LOG_LEVEL)
    if config.REDIS:
        from .counter import Counter, CounterError  # an application without Redis does not load its client

        app.extensions["counter"] = counter = Counter(config.REDIS)
        app.extensions["readiness"].add("redis", counter.answers)
        app.register_error_handler(CounterError, answer_unavailable)
    if proxies := config.APP_TRUSTED_PROXIES:
        # Each proxy appends to X-Forwarded-For; the nearest one sets the scheme and the prefix.
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=1, x_host=0, x_port=0, x_prefix=1
        )
    return app
