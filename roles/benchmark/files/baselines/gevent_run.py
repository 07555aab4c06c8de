"""gevent's own server, as the tutorial starts it, by the name that the module has now."""

import sys

from benchmark_app import app
from gevent.pywsgi import WSGIServer

WSGIServer(("127.0.0.1", int(sys.argv[1])), app).serve_forever()
