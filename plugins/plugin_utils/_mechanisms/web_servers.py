# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sites of nginx and of Apache httpd: the files of each, and the checks that it needs on a host."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

# A site as the role nginx describes it (nginx_site), with all defaults.
Site = Mapping[str, Any]
# Renders a template of the role with the variables that it gets beside those of the role.
Render = Callable[[str, dict[str, Any]], str]
# Reads a text file of the controller.
Read = Callable[[str], str]

# What one site needs of a host, by the options of service_config.
_NEEDS = ("files", "absent", "ports", "conflicts", "check_expects", "check_forbids")


class Layout(NamedTuple):
    """Where a web server of a host has its files."""

    sites: str
    pages: str
    # Patterns of all files in which others may have sites.
    configuration: list[str]


class WebServer:
    """The common part of both web servers; each says where its files are and how it speaks of them."""

    template: str
    # The first line of what belongs to a location; NAMES is in the place of names.
    begins: str
    # What the names of the sites' files may begin with.
    prefixes: tuple[str, ...] = ("",)

    def __init__(self, layout: Layout, owner: str, render: Render, read: Read):
        self.layout = layout
        self.owner = owner
        self.render = render
        self.read = read

    def path(self, site: Site) -> str:
        """Return where a site's file is."""
        raise NotImplementedError

    def expects(self, path: str) -> str:
        """Return what the web server's own check says of a file that it reads."""
        raise NotImplementedError

    def forbids(self, site: Site) -> list[str]:
        """Return what the check must not say, as regular expressions."""
        raise NotImplementedError

    def conflict(self, site: Site) -> dict[str, str]:
        """Return what others' files must not say: a regular expression, and an explanation."""
        raise NotImplementedError

    def location_name(self, location: Mapping[str, Any]) -> str:
        """Return how the template names a location."""
        raise NotImplementedError

    def file_name(self, site: Site) -> str:
        """Return the part that the names of all files of a site have in common."""
        return f"{self.owner}-{site['name']}" if self.owner else site["name"]

    def present(self, site: Site) -> dict[str, Any]:
        """Return what a site needs of a host."""
        site = {**site, "locations": list(map(_location, site["locations"]))}
        pages = [self._page(site, page) for page in site["error_pages"]]
        path = self.path(site)
        # Without the text of a page: ansible-core 2.18 and older would take braces in it for a template.
        named = [{"codes": page["codes"], "name": page["name"]} for page in pages]
        files = [{"path": path, "content": self.render(self.template, {"site": site, "pages": named})}]
        others = self.layout.configuration if site["catch_all_enabled"] else []
        return {
            "name": site["name"],
            "files": [*files, *(page["file"] for page in pages)],
            "absent": [],
            "ports": [f"{site['address']}:{site['listen']}" if site["address"] else str(site["listen"])],
            "conflicts": [{"files": others, **self.conflict(site)}],
            "check_expects": [self.expects(path)],
            "check_forbids": self.forbids(site),
            "open": _opened(site),
        }

    def absent(self, site: Site) -> dict[str, Any]:
        """Return the same of a site that must not exist."""
        needs = {need: [] for need in _NEEDS}
        return {"name": site["name"], **needs, "absent": [self.path(site)], "open": _opened(site)}

    def exclusive(self, sites: Iterable[Site]) -> list[str]:
        """Return patterns of files that no other change may leave: all of the owner, or the pages of these sites."""
        if not self.owner:
            return [f"{self.layout.pages}/{self.file_name(site)}@*" for site in sites]
        files = [f"{self.layout.sites}/{prefix}{self.owner}-*.conf" for prefix in self.prefixes]
        return [*files, f"{self.layout.pages}/{self.owner}-*@*"]

    def keeps(self, sites: Iterable[Site]) -> str:
        """Return a regular expression of the lines that a change of one of these sites must not take away."""
        names = (self.location_name(_location(place)) for site in sites for place in site["locations"])
        return self.begins.replace("NAMES", "|".join(map(re.escape, names)))

    def _page(self, site: Site, page: Mapping[str, Any]) -> dict[str, Any]:
        """Return an error page with a name that no page of another site has, because no site's name has an @."""
        ending = os.path.splitext(page["path"])[1]
        ending = ending if re.fullmatch("[.][A-Za-z0-9]+", ending) else ".html"
        name = f"{self.file_name(site)}@{page['codes'][0]}{ending}"
        file = {"path": os.path.join(self.layout.pages, name), "content": self.read(page["path"])}
        return {"codes": page["codes"], "name": name, "file": file}


class Nginx(WebServer):
    """nginx, whose check is C(nginx -T)."""

    template = "etc/nginx/conf.d/site.conf.j2"
    begins = r"^upstream (NAMES)(?:\.alternative)? \{"
    _everywhere = ("", "0.0.0.0", "[::]")

    def path(self, site: Site) -> str:
        """Return where a site's file is."""
        return os.path.join(self.layout.sites, f"{self.file_name(site)}.conf")

    def expects(self, path: str) -> str:
        """Return the line that nginx writes before a file."""
        return f"# configuration file {path}:"

    def forbids(self, site: Site) -> list[str]:
        """Return nginx's warning of a name that two servers have, because it ignores the second."""
        names = "|".join(map(re.escape, site["server_names"] or ["_"]))
        return [rf'conflicting server name "({names})" on {self._address(site)}:{site["listen"]},']

    def conflict(self, site: Site) -> dict[str, str]:
        """Return a line that listens on the site's port."""
        every = "?" if site["address"] in self._everywhere else ""
        return {
            "regex": rf"^\s*listen\s+({self._address(site)}:){every}{site['listen']}[\s;]",
            "explanation": _explanation(site, "listens on port {} as well", "closed"),
        }

    def location_name(self, location: Mapping[str, Any]) -> str:
        """Return the name of the upstream."""
        return location["name"]

    def _address(self, site: Site) -> str:
        """Return how nginx writes the site's address, as a regular expression."""
        return r"(\*|0\.0\.0\.0|\[::\])" if site["address"] in self._everywhere else re.escape(site["address"])


class Apache(WebServer):
    """Apache httpd, whose check dumps the names of the files that it includes."""

    template = "etc/apache2/sites-enabled/site.conf.j2"
    prefixes = ("000-", "")
    begins = '<Proxy "balancer://(NAMES)(?:_alternative)?">'

    def path(self, site: Site) -> str:
        """Return where a site's file is, because httpd reads files in the order of their names.

        The first site of a port answers unknown host names. A name with a * comes after exact names, which it would
        hide.
        """
        first = "000-" if site["catch_all_enabled"] else ""
        last = "~" if "*" in "".join(site["server_names"]) else ""
        return os.path.join(self.layout.sites, f"{first}{self.owner}-{last}{site['name']}.conf")

    def expects(self, path: str) -> str:
        """Return the end of the line that names a file."""
        return f") {path}"

    def forbids(self, site: Site) -> list[str]:
        """Return nothing, because httpd warns of nothing that matters here."""
        return []

    def conflict(self, site: Site) -> dict[str, str]:
        """Return the beginning of a site on the same port."""
        return {
            "regex": rf"^\s*(?i:<VirtualHost)\s[^>]*(:{site['listen']}|\*|_default_)[\s>]",
            "explanation": _explanation(site, "has a site on port {} as well", "refused"),
        }

    def location_name(self, location: Mapping[str, Any]) -> str:
        """Return the name of the balancer, because httpd takes all signs in it for the same one."""
        return location["word"]


WEB_SERVERS: dict[str, type[WebServer]] = {"nginx": Nginx, "apache": Apache}


def upstream_ports(locations: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return the TCP ports of the servers of locations; a server without one has 80, a unix socket has none."""
    addresses = {server.split()[0] for location in locations for server in _servers(location)}
    ports = (re.search(r":(\d+)$", address) for address in addresses if not address.startswith("unix:"))
    return sorted({int(port[1]) if port else 80 for port in ports})


def _servers(location: Mapping[str, Any]) -> list[str]:
    alternative = location["alternative"] or {"servers": []}
    return [*location["servers"], *alternative["servers"], *location["backups"]]


def _location(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a location with what the templates of both web servers derive from it."""
    protocols, alternative = [described["protocol"]], described["alternative"]
    if alternative:
        alternative = {**alternative, "protocol": alternative["protocol"] or described["protocol"]}
        protocols.append(alternative["protocol"])
    # The name as variables and balancers may have it, and no other location's.
    word = described["name"].replace("_", "__").replace("-", "_h").replace(".", "_d").replace("+", "_p")
    return {**described, "alternative": alternative, "protocols": list(dict.fromkeys(protocols)), "word": word}


def _opened(site: Site) -> list[int]:
    """Return the ports for the firewall; a port of one address is for clients that know this address."""
    return [] if site["address"] else [site["listen"]]


def _explanation(site: Site, problem: str, refused: str) -> str:
    becomes = refused if site["server_names"] else "answered by this site"
    return (
        f"{problem.format(site['listen'])}, where every unknown host name would be {becomes} from now on. "
        "Choose another port, or set catch_all_enabled to false for the sites of this port."
    )
