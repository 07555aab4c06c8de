# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: render sites for a web server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import find_path, search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.web_servers import (
    WEB_SERVERS,
    Layout,
    upstream_ports,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError


class ActionModule(ActionBase):
    """Complete each site, render its file, and tell what the host has to look at."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(("layout", "owner", "server", "sites", "state"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        path = {"type": "path", "required": True}
        layout = {"sites": path, "pages": path, "configuration": {"type": "list", "elements": "str", "required": True}}
        spec = {
            "server": {"type": "str", "required": True, "choices": list(WEB_SERVERS)},
            "sites": {"type": "list", "elements": "dict", "required": True},
            "owner": {"type": "str", "default": ""},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "layout": {"type": "dict", "required": True, "options": layout},
        }
        _validation, wanted = self.validate_argument_spec(spec)
        variables = task_vars or {}
        server = WEB_SERVERS[wanted["server"]](
            Layout(**wanted["layout"]), wanted["owner"], self._render(variables), _reader(variables)
        )
        try:
            sites = [complete(site, "nginx", "site", "nginx_site") for site in wanted["sites"]]
            needs = [getattr(server, wanted["state"])(site) for site in sites]
        except DescriptionError as error:
            raise AnsibleActionFail(str(error)) from error
        return {
            "changed": False,
            "sites": needs,
            "exclusive": server.exclusive(sites),
            "keeps": server.keeps(sites),
            "listen": sorted({site["listen"] for site in sites}),
            "connect": upstream_ports(place for site in sites for place in site["locations"]),
        }

    def _render(self, variables: dict[str, Any]) -> Callable[[str, dict[str, Any]], str]:
        lookup = lookup_loader.get("baremetal.web.template", loader=self._loader, templar=self._templar)

        def render(template: str, more: dict[str, Any]) -> str:
            return lookup.run([template], variables=variables, template_vars=more)[0]

        return render


def _reader(variables: dict[str, Any]) -> Callable[[str], str]:
    search = search_path(variables.get("inventory_dir"))

    def read(path: str) -> str:
        try:
            with open(find_path(path, search) or path, encoding="utf-8") as stream:
                return stream.read()
        except (OSError, UnicodeDecodeError) as error:
            raise AnsibleActionFail(
                f"error_pages has {path}, which cannot be read as text on the controller: {error}"
            ) from error

    return read
