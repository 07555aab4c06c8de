"""Apps that other people wrote, as docs/recipes.md describes them: they answer, and keep their data."""

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from probes import PROJECT, Answer, eventually, fetch, limit, name, play

SCENARIO = Path(__file__).resolve().parents[1]
INVENTORY = SCENARIO / "inventory" / "hosts.yml"
ANN = {"Authorization": f"Basic {base64.b64encode(b'ann:not-a-secret-in-a-test').decode()}"}
DEBIAN, CENTOS = "third-debian", "third-centos"


@dataclass(frozen=True)
class Page:
    """A page with a text that nobody but the app itself can have written."""

    site: str
    path: str
    says: str

    def ask(self, host: Host, path: str = "", headers: dict[str, str] | None = None, **asked: Any) -> Answer:
        """Ask the host's nginx for the page, or for another one of the site."""
        named = {"Host": f"{self.site}.example.com", **(headers or {})}
        return fetch(host, f"http://127.0.0.1{path or self.path}", headers=named, **asked)


PAGES = {
    DEBIAN: {
        "blog": Page("blog", "/admin/login/", "Django administration"),
        "facts": Page("apps", "/facts/", "https://datasette.io/"),
        "calendar": Page("apps", "/calendar/.web/", "Radicale Web Interface"),
        "tasks": Page("apps", "/tasks/", "give work to /double/NUMBER"),
        "bugs": Page("bugs", "/", "Roundup issue tracker"),
    },
    CENTOS: {
        "wiki": Page("wiki", "/", "<strong>Trac"),
        "drive": Page("apps", "/drive/:dir_browser/style.css", "font-family"),
        "packages": Page("apps", "/packages/", "pypiserver"),
        "httpbin": Page("apps", "/httpbin/get?a=b", "http://apps.example.com/httpbin/get?a=b"),
        "notes": Page("apps", "/notes/", "notes at http://apps.example.com/notes/"),
        "store": Page("apps", "/store/v1/", '"project_name":"kinto"'),
    },
}
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:20260101T000000Z\r\nSUMMARY:picnic\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
COMMANDS = re.findall(r"^sudo .*", (PROJECT / "docs" / "recipes.md").read_text(), re.MULTILINE)


@pytest.fixture
def debian(host: Host) -> Host:
    """The host of one half of the apps."""
    if name(host) != DEBIAN:
        pytest.skip("the other host has these apps")
    return host


def releases(host: Host) -> dict[str, str]:
    """Return the live release of each app."""
    return {app: Path(host.check_output("readlink %s", f"/srv/wsgi/{app}/current")).name for app in PAGES[name(host)]}


def keep(host: Host) -> None:
    """Put something into apps that keep something."""
    pages = PAGES[name(host)]
    if name(host) == DEBIAN:
        made = pages["calendar"].ask(host, "/calendar/ann/dates/", method="MKCALENDAR", headers=ANN)
        assert made.status == 201, made.text
        headers = {**ANN, "Content-Type": "text/calendar"}
        put = pages["calendar"].ask(host, "/calendar/ann/dates/1.ics", method="PUT", headers=headers, body=EVENT)
        assert put.status == 201, put.text
    else:
        put = pages["drive"].ask(host, "/drive/note.txt", method="PUT", headers=ANN, body="kept")
        assert put.status == 201, put.text
        package = "/srv/wsgi/packages/data/shared/packages/kept-1.0-py3-none-any.whl"
        host.check_output("runuser -u wsgi-packages -- touch %s", package)


def kept(host: Host) -> bool:
    """Tell whether it is still there."""
    pages = PAGES[name(host)]
    if name(host) == DEBIAN:
        return "picnic" in pages["calendar"].ask(host, "/calendar/ann/dates/1.ics", headers=ANN).text
    return (
        pages["drive"].ask(host, "/drive/note.txt", headers=ANN).text == "kept"
        and "kept-1.0" in pages["packages"].ask(host, "/packages/simple/kept/").text
    )


def silent(host: Host) -> dict[str, str]:
    """Return what those apps answered that did not say what they have to."""
    answers = {app: (page, page.ask(host)) for app, page in PAGES[name(host)].items()}
    return {
        app: f"{answer.status} {answer.text[:3000]}"
        for app, (page, answer) in answers.items()
        if answer.status != 200 or page.says not in answer.text
    }


def test_every_app_answers_itself(host: Host) -> None:
    assert silent(host) == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_recipes_works(debian: Host, command: str) -> None:
    done = debian.run(command)
    assert done.rc == 0, done.stderr


def test_the_static_files_of_django_come_with_their_digest(debian: Host) -> None:
    blog = PAGES[DEBIAN]["blog"]
    sheet = re.search(r'href="(/static/admin/css/base\.\w+\.css)"', blog.ask(debian).text)
    assert sheet
    assert blog.ask(debian, sheet[1]).status == 200


def test_a_worker_of_celery_does_what_the_page_gives_it(debian: Host) -> None:
    tasks = PAGES[DEBIAN]["tasks"]
    given = tasks.ask(debian, "/tasks/double/21", method="POST").text
    assert given.startswith("/tasks/result/")
    eventually(lambda: tasks.ask(debian, given).text == "42")


def described(host: Host) -> list[dict[str, Any]]:
    """Return the apps of a host as another release."""
    entries = yaml.safe_load((SCENARIO / f"inventory/host_vars/{name(host)}.yml").read_text())["wsgi_apps"]
    return [{**entry, "environment": {**entry.get("environment", {}), "EDITION": 2}} for entry in entries]


def test_another_release_of_every_app_keeps_its_data(hosts: list[Host]) -> None:
    for host in hosts:
        keep(host)
    before = [releases(host) for host in hosts]
    changed = {
        "blogs": described(hosts[0]),
        "wikis": described(hosts[1]),
        "wsgi_apps": f"{{{{ blogs if inventory_hostname == '{name(hosts[0])}' else wikis }}}}",
    }
    code, out = play("site.yml", limit(hosts), "--tags=wsgi", inventory=INVENTORY, **changed)
    assert code == 0, out
    for host, former in zip(hosts, before, strict=True):
        assert [app for app, release in releases(host).items() if release == former[app]] == []
        assert kept(host)
        assert silent(host) == {}


def test_removing_everything_takes_the_apps_away(hosts: list[Host]) -> None:
    given = {"remove": "stack", "confirm": "stack", "remove_data": True}
    code, out = play("playbooks/remove.yml", limit(hosts), inventory=INVENTORY, **given)
    assert code == 0, out
    for host in hosts:
        assert not host.file("/srv/wsgi").exists
        assert "wsgi-" not in host.check_output("getent passwd")
