"""supervisord's web interface, for those who have its password."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from testinfra.host import Host

from probes import App, eventually, fetch, web_status

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
TUNNEL = "127.0.0.1:29001"
# Guesses thirty passwords.
GUESS = """
import base64, http.client
for number in range(30):
    connection = http.client.HTTPConnection("127.0.0.1", 9001, timeout=10)
    token = base64.b64encode(f"admin:wrong{number}".encode()).decode()
    connection.request("GET", "/", headers={"Authorization": f"Basic {token}"})
    print(connection.getresponse().status)
"""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def password(host: Host) -> str:
    """Return the password that a host made for itself."""
    return host.file("/etc/supervisord/web-password").content_string.strip()


def test_nobody_gets_in_without_the_password(host: Host) -> None:
    assert [web_status(host, credentials) for credentials in (None, "admin:", "admin:wrong")] == [401, 401, 401]


def test_the_password_opens_it(host: Host) -> None:
    assert web_status(host, f"admin:{password(host)}") == 200


def test_every_host_has_a_password_of_its_own(host: Host, neighbour: Host) -> None:
    assert len(password(host)) == 32
    assert password(host) != password(neighbour)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A real browser without a screen."""
    for program in (CHROMIUM, DRIVER):
        assert program.exists(), f"{program} is missing: `make prepare` installs the browser that this test needs"
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path}"):
        options.add_argument(flag)
    with Chrome(options, Service(str(DRIVER))) as chrome:
        yield chrome


def test_a_page_of_another_origin_stops_nothing(host: Host, hello: App) -> None:
    token = base64.b64encode(f"admin:{password(host)}".encode()).decode()
    target = f"http://127.0.0.1:9001/index.html?processname={hello.program(host)}&action=stop"
    before = hello.master(host)
    for page in ({}, {"Referer": "http://127.0.0.1:8080/"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        answer = fetch(host, target, headers={"Authorization": f"Basic {token}", **page})
        assert answer.status in (403, 421), page
    assert hello.master(host) == before


def test_an_account_of_the_host_cannot_lock_others_out(host: Host) -> None:
    assert "429" in host.check_output("runuser -u nobody -- python3 -c %s", GUESS)
    assert web_status(host, f"admin:{password(host)}") == 200


def test_a_browser_sees_a_program_running_and_its_log_through_the_tunnel(
    browser: Chrome, connect: Callable[[str], Host], hello: App
) -> None:
    host = connect("app-debian")
    program = hello.program(host)

    def is_running() -> bool:
        browser.get(f"http://admin:{password(host)}@{TUNNEL}/")
        return "running" in browser.find_element(By.XPATH, f"//tr[.//a='{program}']").text

    eventually(is_running)
    browser.get(browser.find_element(By.LINK_TEXT, program).get_attribute("href"))
    assert "Booting worker with pid" in browser.find_element(By.TAG_NAME, "pre").text


def test_a_browser_restarts_a_program_with_the_button(
    browser: Chrome, connect: Callable[[str], Host], client: Host, hello: App
) -> None:
    host = connect("app-debian")
    before = hello.master(host)
    browser.get(f"http://admin:{password(host)}@{TUNNEL}/")
    browser.find_element(By.XPATH, f"//tr[.//a='{hello.program(host)}']//a[.='Restart']").click()
    eventually(lambda: hello.master(host) not in (0, before))
    eventually(lambda: hello.answers(host, client))
