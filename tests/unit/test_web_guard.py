"""The guard in front of supervisord's web UI: a real supervisord is asked what pages of others would ask for."""

from __future__ import annotations

import base64
import hashlib
import http.client
import multiprocessing
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from supervisor.xmlrpc import SupervisorTransport

from conftest import PATIENCE, listens, wait_until

GUARDED = Path(__file__).parents[2] / "roles" / "supervisor" / "files" / "guarded_supervisord.py"
PASSWORD = "right:horse battery é"
STOP = "/index.html?processname=sleeper&action=stop"
CALL = xmlrpc.client.dumps((), "supervisor.stopAllProcesses")


class WebUI:
    """supervisord behind the guard, with one program."""

    def __init__(self, directory: Path, process: subprocess.Popen, port: int):
        self.directory = directory
        self.process = process
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self.origin = f"http://{self.host}"

    def ask(
        self, target: str = "/", method: str = "GET", body: str | None = None, password: str = PASSWORD, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers of an answer; an underscore in a header's name stands for a hyphen."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        sent = {"Authorization": basic(password)} if password else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}

    def state(self) -> str:
        """Return what the unix socket says of the program."""
        transport = SupervisorTransport(None, None, f"unix://{self.directory}/supervisor.sock")
        client = xmlrpc.client.ServerProxy("http://127.0.0.1", transport)
        return client.supervisor.getProcessInfo("sleeper")["statename"]


def statuses(port: int, authorization: str, times: int) -> list[int]:
    """Return how the first page is answered, again and again."""
    answers = []
    for _ in range(times):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/", headers={"Authorization": authorization})
        answers.append(connection.getresponse().status)
    return answers


def refusal_of(answer: tuple[int, str, dict[str, str]]) -> dict[str, str] | None:
    """Return the headers of an answer that tells to wait."""
    status, _, headers = answer
    return headers if status == 429 else None


def basic(password: str, user: str = "admin") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def serving(directory: Path, *command: str) -> Iterator[WebUI]:
    """Run a supervisord with one program and a web UI, by a command of this Python."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = directory / "supervisord.conf"
    config.write_text(f"""
[supervisord]
logfile = {directory}/supervisord.log
childlogdir = {directory}
pidfile = {directory}/supervisord.pid
{"user = root" if os.geteuid() == 0 else ""}
[unix_http_server]
file = {directory}/supervisor.sock
[inet_http_server]
port = 127.0.0.1:{port}
username = admin
password = {{SHA}}{hashlib.sha1(PASSWORD.encode()).hexdigest()}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:sleeper]
command = sleep 600
startsecs = 0
; Another signal is lost on a process that has not become its program yet.
stopsignal = KILL
""")
    arguments = [sys.executable, *command, "--nodaemon", f"--configuration={config}"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        web = WebUI(directory, process, port)
        wait_until(lambda: listens(directory / "supervisor.sock") and web.state() == "RUNNING")
        yield web
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    with serving(tmp_path_factory.mktemp("web"), str(GUARDED), "", "ui.example,Second.example") as served:
        yield served


@pytest.fixture
def unasked(tmp_path: Path) -> Iterator[WebUI]:
    """A web UI that has had no wrong password yet."""
    with serving(tmp_path, str(GUARDED), "", "") as served:
        yield served


@pytest.mark.skipif(os.geteuid() != 0, reason="asks what root may")
def test_no_program_but_the_launcher_of_the_apps_has_the_right_to_mount() -> None:
    code = (
        "import os, runpy, sys; sys.path.insert(0, os.path.dirname(sys.argv[1])); "
        "guarded = runpy.run_path(sys.argv[1]); Subprocess = guarded['Subprocess']; "
        "Subprocess._prepare_child_fds = lambda process: None; guarded['confine'](); "
        "process = type('P', (), {'config': type('C', (), {'command': sys.argv[2]})}); "
        "Subprocess._prepare_child_fds(process); print(open('/proc/self/status').read())"
    )
    held = []
    for command in ("/usr/sbin/nginx -g 'daemon off;'", f"python -I -S {GUARDED.parent}/launch.py user=shop -- serve"):
        said = subprocess.run(
            [sys.executable, "-c", code, str(GUARDED), command], check=True, capture_output=True, text=True
        ).stdout
        rights = [int(line.split()[1], 16) >> 21 & 1 for line in said.splitlines() if line[:6] in ("CapPrm", "CapEff")]
        held.append(rights)
    with open("/proc/self/status", encoding="ascii") as lines:
        ours = [int(line.split()[1], 16) >> 21 & 1 for line in lines if line[:6] in ("CapPrm", "CapEff")]
    assert held == [[0, 0], ours]


def test_the_buttons_of_its_own_pages_work(web: WebUI) -> None:
    assert web.ask()[0] == 200
    for evidence in (
        {"Referer": f"{web.origin}/"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "same-origin", "Referer": f"{web.origin}/index.html"},
        {"Origin": web.origin},
        {"Host": "ui.example", "Referer": "https://ui.example/"},
        {"Host": "localhost:19001", "Referer": "http://localhost:19001/"},
    ):
        for action, state in (("stop", "STOPPED"), ("start", "RUNNING")):
            assert web.ask(STOP.replace("stop", action), **evidence)[0] == 301, evidence
            wait_until(lambda state=state: web.state() == state)


# What a browser says that was told to stop the program by a page of another origin, by a mail, or by nobody.
FOREIGN: dict[str, dict[str, Any]] = {
    "nothing, as with referrerpolicy=no-referrer": {},
    "an image of another site": {"Sec_Fetch_Site": "cross-site", "Referer": "https://evil.example/"},
    "another port of the host": {"Sec_Fetch_Site": "same-site", "Referer": "http://127.0.0.1:8080/"},
    "another port, without metadata": {"Referer": "http://127.0.0.1:8080/"},
    "a link in a mail": {"Sec_Fetch_Site": "none"},
    "a frame without an origin": {"Origin": "null"},
    "another origin, same-origin referer": {"Origin": "https://evil.example", "Referer": "http://HOST/"},
    "a name that begins like ours": {"Referer": "http://HOST.evil.example/"},
    "ours as the user of another": {"Referer": "http://HOST@evil.example/"},
    "ours as a path of another": {"Referer": "https://evil.example/http://HOST/"},
    "an empty referer": {"Referer": ""},
}
TARGETS = {
    "action": STOP,
    "all": "/?action=stopall",
    "restart": "/index.html?action=restartall",
    "encoded": "/index.html?processname=sleeper&%61ction=stop",
    "encoded question mark": "/index.html%3Fprocessname=sleeper&action=stop",
    "encoded query": "//index.html%3Fprocessname=sleeper%26action=stop",
    "two": "/index.html?action=&processname=sleeper&action=stop",
    "tail": "/tail.html?processname=sleeper&action=stop",
    "slashes": "////index.html?processname=sleeper&action=stop",
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_page_of_another_origin_changes_nothing(web: WebUI, target: str) -> None:
    for name, headers in FOREIGN.items():
        sent = {key: value.replace("HOST", web.host) for key, value in headers.items()}
        status, body, _ = web.ask(target, **sent)
        assert (status, "does nothing" in body) == (403, True) or status in (200, 404), name
        assert web.state() == "RUNNING", name


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("POST", "/index.html", {"Content_Type": "application/x-www-form-urlencoded"}, 405),
        ("POST", STOP, {"Referer": "http://HOST/"}, 405),
        ("POST", "/RPC2", {}, 415),
        ("POST", "/RPC2", {"Content_Type": "text/plain"}, 415),
        ("POST", "/RPC2", {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", "/RPC2/x", {"Content_Type": "multipart/form-data; boundary=text/xml"}, 415),
        ("POST", "/RPC2", {"Content_Type": "text/xml", "Origin": "https://evil.example"}, 403),
        ("POST", "/RPC2", {"Content_Type": "text/xml", "Origin": "null"}, 403),
        ("POST", "/RPC2", {"Content_Type": "text/xml", "Sec_Fetch_Site": "same-site"}, 403),
        ("OPTIONS", "/RPC2", {"Origin": "https://evil.example"}, 405),
        ("PUT", "/RPC2", {"Content_Type": "text/xml"}, 405),
        ("get", STOP, {"Referer": "http://HOST/"}, 405),
        ("DELETE", "/", {}, 405),
    ],
)
def test_only_xml_rpc_takes_what_is_sent(
    web: WebUI, method: str, target: str, headers: dict[str, str], status: int
) -> None:
    sent = {key: value.replace("HOST", web.host) for key, value in headers.items()}
    body = CALL if target.startswith("/RPC2") else "processname=sleeper&action=stop"
    answered = web.ask(target, method, body, **sent)
    assert answered[0] == status
    assert not [name for name in answered[2] if name.startswith("access-control")]
    assert web.state() == "RUNNING"


def test_clients_of_xml_rpc_and_supervisorctl_over_tcp_work(web: WebUI) -> None:
    ctl = [sys.executable, "-m", "supervisor.supervisorctl", "-s", web.origin, "-u", "admin", "-p", PASSWORD]
    status, body, _ = web.ask("/RPC2", "POST", CALL, Content_Type="text/xml; charset=utf-8")
    assert (status, "methodResponse" in body) == (200, True)
    assert web.state() == "STOPPED"
    assert "sleeper: started" in subprocess.run([*ctl, "start", "sleeper"], capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9001",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "ui.example@evil",
        "",
        "a b",
    ],
)
def test_a_name_that_others_point_here_is_not_answered(web: WebUI, host: str) -> None:
    status, body, headers = web.ask("/", Host=host)
    assert (status, "www-authenticate" in headers) == (421, False)
    assert "supervisor_web_names" in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:19001", "192.0.2.1:9001", "[::1]:9001", "second.example:1"])
def test_addresses_and_names_that_are_ours_are_answered(web: WebUI, host: str) -> None:
    assert web.ask("/", Host=host)[0] == 200


def test_a_second_host_is_refused(web: WebUI) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_no_page_of_others_can_frame_or_keep_it(web: WebUI) -> None:
    _, _, headers = web.ask()
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"] == "frame-ancestors 'none'"


def test_it_is_supervisord_in_lists_of_processes(web: WebUI) -> None:
    assert Path(f"/proc/{web.process.pid}/comm").read_text() == "supervisord\n"


def test_guesses_are_counted_and_slow(unasked: WebUI) -> None:
    assert {unasked.ask(password="")[0] for _ in range(30)} == {401}  # a browser asks so first
    assert {unasked.ask()[0] for _ in range(30)} == {200}
    begun = time.monotonic()
    looked_at = sum(unasked.ask(password=f"wrong {number}")[0] == 401 for number in range(200))
    assert looked_at <= 10 + (time.monotonic() - begun) + 1
    # Each second gives one guess more, so a busy machine has to ask again.
    headers = wait_until(lambda: refusal_of(unasked.ask(password="wrong")))
    assert headers["retry-after"] == "1"
    # Another status for the right one would tell it.
    wait_until(lambda: unasked.ask(password="wrong")[0] == unasked.ask()[0] == 429)
    assert "too many wrong passwords" in (unasked.directory / "supervisord.log").read_text()
    wait_until(lambda: unasked.ask()[0] == 200)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_nobody_can_lock_another_account_out(unasked: WebUI) -> None:
    # Forked, because another account may not get at this Python.
    with multiprocessing.get_context("fork").Pool(1, os.setuid, (65534,)) as nobody:

        def ask(password: str, times: int = 1) -> int:
            return nobody.apply(statuses, (unasked.port, basic(password), times))[-1]

        wait_until(lambda: ask("wrong", 40) == 429)
        assert unasked.ask()[0] == 200
        wait_until(lambda: ask("wrong", 40) == ask(PASSWORD) == 429)


def test_clients_that_only_connect_leave_room(web: WebUI) -> None:
    idle = [socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE) for _ in range(300)]
    assert web.ask()[0] == 200
    assert len(os.listdir(f"/proc/{web.process.pid}/fd")) < 150
    for client in idle:
        client.close()


def test_headers_without_an_end_are_not_kept(web: WebUI) -> None:
    def send_for_long() -> None:
        with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE) as client:
            for number in range(600):  # a server that is slow to read closes late
                client.sendall(b"x" * (65536 if number < 64 else 1))
                time.sleep(0.01 if number < 64 else 0.1)

    with pytest.raises(OSError, match=r"reset|pipe"):
        send_for_long()
    assert web.ask()[0] == 200


@pytest.mark.parametrize(
    "authorization", ["Basic", "Basic !", "Basic " + base64.b64encode(b"admin").decode(), "Digest x"]
)
def test_what_is_no_password_opens_nothing(web: WebUI, authorization: str) -> None:
    assert web.ask(password="", Authorization=authorization)[0] in (400, 401)


@pytest.mark.parametrize(
    ("user", "password"), [("admin", ""), ("", ""), ("nobody", ""), ("admin", "{SHA}"), ("", PASSWORD)]
)
def test_other_logins_open_nothing(web: WebUI, user: str, password: str) -> None:
    assert web.ask(password="", Authorization=basic(password, user))[0] == 401
