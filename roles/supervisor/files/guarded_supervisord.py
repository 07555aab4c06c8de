# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""supervisord with a guard in front of its web UI, and with a control group and few rights for each of its processes.

Usage: guarded_supervisord.py UNIT NAMES ARGUMENT...

UNIT is the unit of systemd whose control group it divides, empty for none. NAMES are the host names, with commas
between them, by which browsers may ask for the web UI, beside addresses and localhost. The other arguments are
supervisord's own. The guard stands before everything that listens on TCP; the unix socket stays as it is, because its
mode says who may use it.
"""

import ctypes
import hmac
import ipaddress
import os
import re
import shlex
import signal
import socket
import struct
import sys
import time
from hashlib import sha1
from urllib.parse import parse_qs, urlsplit

import supervisor.http
from control_groups import ControlGroups
from supervisor.medusa import asyncore_25 as asyncore
from supervisor.medusa import auth_handler, http_server
from supervisor.process import Subprocess
from supervisor.supervisord import main

# A client has so many wrong passwords, and one more each second.
GUESSES = 10
GUESSES_PER_SECOND = 1
# Clients that only connect, or never end their headers, leave room for others.
CONNECTIONS = 100
HEADER_BYTES = 64 * 1024

HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?")
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
STATUSES = {**http_server.http_request.responses, 421: "Misdirected Request", 429: "Too Many Requests"}
ESTABLISHED = "01"

LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py")
CAPABILITY_VERSION = 0x20080522
CAP_SYS_ADMIN = 1 << 21


class Refused(Exception):
    """A request that supervisord does not get."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Guesses:
    """How many wrong passwords a client has left."""

    def __init__(self):
        self.left = {}

    def of(self, client):
        """Return how many a client has left now."""
        left, since = self.left.get(client, (GUESSES, 0.0))
        return min(GUESSES, left + (time.monotonic() - since) * GUESSES_PER_SECOND)

    def charge(self, client):
        """Take one from a client, and forget those that have all of theirs again."""
        left = self.of(client) - 1
        self.left = {other: kept for other, kept in self.left.items() if self.of(other) < GUESSES}
        self.left[client] = (left, time.monotonic())
        return left


guesses = Guesses()


def account(peer, own):
    """Return the uid whose process on this host holds the other end of a connection; None when there is none."""
    ends = [f"{struct.unpack('=I', socket.inet_aton(host))[0]:08X}:{port:04X}" for host, port in (peer, own)]
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                for line in lines:
                    _number, local, remote, state, *_more, uid = line.split()[:8]
                    # In the table of IPv6 an address of IPv4 has a prefix.
                    if local.endswith(ends[0]) and remote.endswith(ends[1]) and state == ESTABLISHED:
                        return int(uid)
        except FileNotFoundError:
            continue
    return None


def client(channel):
    """Return who asks: an account of this host, or an address."""
    uid = account(channel.addr, channel.socket.getsockname())
    if uid is not None:
        return f"uid {uid}"
    # An account may send from any address of the loopback network, so they count as one.
    return "this host" if ipaddress.ip_address(channel.addr[0]).is_loopback else channel.addr[0]


def header(request, name):
    """Return the value of a header, or None; a request that says it twice is refused."""
    found = [
        line.partition(":")[2].strip() for line in request.header if line.partition(":")[0].strip().lower() == name
    ]
    if len(found) > 1:
        raise Refused(400, f"The header {name} comes {len(found)} times.")
    return found[0] if found else None


def check_host(host, names):
    """Refuse a name that is not ours: a page can have its own name point to this address."""
    match = HOST.fullmatch(host or "")
    name = match["name"].strip("[]").lower() if match else ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if name not in names:
            raise Refused(
                421,
                f"Host is {host!r}, which is neither an address, nor localhost, nor one of supervisor_web_names. "
                "Ask by one of these, or add the name.",
            ) from None


def is_own(request, host):
    """Tell whether a page of this web UI sent the request; None when the request does not say."""
    site = header(request, "sec-fetch-site")
    pages = [page for page in (header(request, "origin"), header(request, "referer")) if page is not None]
    if site is None and not pages:
        return None
    return site in (None, "same-origin") and all(urlsplit(page).netloc.lower() == host.lower() for page in pages)


def check_act(request, host):
    """Refuse what changes something and does not come from a page of this web UI, or from a client of XML-RPC."""
    path, _parameters, query, _fragment = request.split_uri()
    if request.command == "POST":
        if not request.uri.startswith("/RPC2"):
            raise Refused(405, "Only /RPC2 takes POST.")
        # A page of another origin cannot send this type without asking first, and is not answered then.
        if (header(request, "content-type") or "").split(";")[0].strip().lower() != "text/xml":
            raise Refused(415, "XML-RPC has the type text/xml.")
        if is_own(request, host) is False:
            raise Refused(403, "This request comes from a page of another origin.")
    elif request.command not in ("GET", "HEAD"):
        raise Refused(405, f"The method is {request.command!r}, and this server knows GET, HEAD and POST.")
    elif "action" in parse_qs((query or "")[1:], keep_blank_values=True) and not is_own(request, host):
        raise Refused(
            403,
            "This request does not come from a page of this web UI, so it does nothing. Use the buttons of "
            f"{path}, supervisorctl, or XML-RPC.",
        )


def check_guess(request):
    """Refuse to look at a password of a client that had too many wrong ones."""
    has_password = http_server.get_header(auth_handler.AUTHORIZATION, request.header)
    if has_password and guesses.left and guesses.of(client(request.channel)) < 1:
        request["Retry-After"] = 1 // GUESSES_PER_SECOND
        raise Refused(429, "Too many wrong passwords; this one was not looked at. Wait a second.")


class Guarded:
    """One of supervisord's handlers with the guard in front."""

    def __init__(self, handler, names):
        self.handler = handler
        self.names = names

    def match(self, request):
        return self.handler.match(request)

    def handle_request(self, request):
        for name, value in HEADERS.items():
            request[name] = value
        try:
            host = header(request, "host")
            check_host(host, self.names)
            check_act(request, host)
            check_guess(request)
        except Refused as refused:
            refuse(request, refused.status, str(refused))
        else:
            self.handler.handle_request(request)


def refuse(request, status, message):
    """Answer a request with a sentence, read no body, and close the connection."""
    request.responses = STATUSES
    request.reply_code = status
    body = f"{message}\n".encode()
    request.channel.set_terminator(None)
    request["Connection"] = "close"
    request["Content-Length"] = len(body)
    request["Content-Type"] = "text/plain;charset=utf-8"
    request.push(body)
    request.done()
    request.channel.close_when_done()


class Channel(supervisor.http.deferring_http_channel):
    """A connection whose headers end."""

    def collect_incoming_data(self, data):
        super().collect_incoming_data(data)
        if len(self.in_buffer) > HEADER_BYTES:
            self.close()


class Server(supervisor.http.supervisor_af_inet_http_server):
    """What listens on TCP."""

    channel_class = Channel
    names = frozenset({"localhost"})

    def install_handler(self, handler, back=0):
        super().install_handler(Guarded(handler, self.names), back)

    def handle_accept(self):
        super().handle_accept()
        channels = [channel for channel in asyncore.socket_map.values() if isinstance(channel, Channel)]
        if len(channels) > CONNECTIONS:
            min(channels, key=lambda channel: (channel.last_used, channel.channel_number)).close()


class Authorizer:
    """Who has the password, compared in a time that tells nothing."""

    def __init__(self, passwords):
        self.passwords = passwords

    def authorize(self, credentials):
        user, _colon, password = ":".join(credentials).partition(":")
        wanted = self.passwords.get(user, "")
        given = f"{{SHA}}{sha1(password.encode()).hexdigest()}" if wanted.startswith("{SHA}") else password
        return hmac.compare_digest(wanted.encode(), given.encode()) and bool(wanted)


class PasswordHandler(supervisor.http.supervisor_auth_handler):
    """supervisord's own handler, with wrong passwords counted."""

    def __init__(self, passwords, handler, realm="default"):
        super().__init__(passwords, handler, realm)
        self.authorizer = Authorizer(passwords)

    def handle_unauthorized(self, request):
        if http_server.get_header(auth_handler.AUTHORIZATION, request.header):
            asking = client(request.channel)
            if guesses.charge(asking) < 1:
                request.channel.server.log_info(f"error: too many wrong passwords for the web UI from {asking}")
        super().handle_unauthorized(request)
        request.channel.close_when_done()


def forgo_mounts():
    """Give up the right to mount; under NoNewPrivileges no program brings it back."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    for index in range(3):  # effective, permitted, inheritable
        sets[index] &= ~CAP_SYS_ADMIN
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "it cannot give up the right to mount")


def confine():
    """Let no program have the right to mount but the launcher of the apps, which gives each app a /tmp of its own."""
    prepare = Subprocess._prepare_child_fds

    def prepared(process):
        prepare(process)
        if LAUNCHER not in shlex.split(process.config.command):
            forgo_mounts()

    Subprocess._prepare_child_fds = prepared


def track(groups):
    """Give each process a control group before it becomes its program, and end what it leaves there."""
    prepare, finish = Subprocess._prepare_child_fds, Subprocess.finish

    def prepared(process):
        prepare(process)
        # It may wait for what its forerunner has left. supervisord's own handlers would only note the signal to stop.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        try:
            groups.enter(process.group.config.name, process.config.name, process.config.stopwaitsecs)
        except OSError as error:
            os.write(2, f"The program cannot have a control group: {error}\n".encode())  # to its log
            raise

    def finished(process, pid, status):
        seconds = process.config.stopwaitsecs
        if process.killing:  # what is left has the rest of the time, none when the time is over
            over = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            seconds = 0 if over else max(0, process.delay - time.time())
        group = groups.of(process.group.config.name, process.config.name, pid)
        finish(process, pid, status)
        groups.leave(group, seconds)

    Subprocess._prepare_child_fds, Subprocess.finish = prepared, finished


def divided(unit):
    """Return the control groups of the unit; say why there are none."""
    try:
        return ControlGroups.divide(unit)
    except OSError as error:
        print(f"What a program leaves behind is not ended when it ends or restarts: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    # The name in lists of processes; else it is Python's.
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write("supervisord")
    unit = sys.argv.pop(1)
    Server.names |= {name.lower() for name in sys.argv.pop(1).split(",") if name}
    supervisor.http.supervisor_af_inet_http_server = Server
    supervisor.http.supervisor_auth_handler = PasswordHandler
    confine()
    control_groups = divided(unit) if unit else None
    if control_groups:
        track(control_groups)
    main()
    if control_groups:
        control_groups.wait()
