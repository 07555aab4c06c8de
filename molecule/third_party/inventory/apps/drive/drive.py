"""WsgiDAV: files of one user, over WebDAV."""

import os
from pathlib import Path

from wsgidav.wsgidav_app import WsgiDAVApp

# A directory of `shared` is a link in the release, and WsgiDAV follows none.
FILES = (Path(__file__).parent / "files").resolve()
application = WsgiDAVApp(
    {
        "provider_mapping": {"/": str(FILES)},
        "simple_dc": {"user_mapping": {"*": {"ann": {"password": os.environ["DRIVE_PASSWORD"]}}}},
    }
)
