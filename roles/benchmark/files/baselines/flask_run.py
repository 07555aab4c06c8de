"""Flask's own server, as ``app.run()`` starts it: PORT, and single, threaded or processes."""

import sys

from benchmark_app import app

WAYS = {"single": {"threaded": False}, "threaded": {"threaded": True}, "processes": {"threaded": False, "processes": 4}}

app.run(host="127.0.0.1", port=int(sys.argv[1]), **WAYS[sys.argv[2]])
