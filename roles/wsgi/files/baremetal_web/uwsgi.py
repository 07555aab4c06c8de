# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the app with uWSGI, which does not listen by itself on a socket that was handed over.

It imports the app from here.
"""

from __future__ import annotations

import os
import re
import signal
import sys

from baremetal_web.launch import LISTEN_FD, listen


def main() -> None:
    """Listen on a unix socket, then become uWSGI; it listens on a port by itself."""
    configuration = sys.argv[1]
    os.environ["APP_LISTEN"] = os.environ["APP_SOCKET"]
    if os.environ["APP_SOCKET"].startswith("/"):
        with open(configuration, encoding="utf-8") as stream:
            found = re.search(r"^listen = (\d+)$", stream.read(), re.MULTILINE)
        listener = listen(int(found[1]) if found else 100)
        os.set_inheritable(listener.detach(), True)
        os.environ["APP_LISTEN"] = f"fd://{LISTEN_FD}"
    uwsgi = os.path.join(os.path.dirname(sys.executable), "uwsgi")
    os.execv(uwsgi, [uwsgi, "--ini", configuration])


if __name__ == "__main__":
    main()
else:
    # uWSGI ignores these until the app is loaded, and a worker that is asked to end by then would stay for ever.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    from baremetal_web.entry import application  # noqa: F401  # pylint: disable=unused-import
