"""The answers that clients get."""

import json

import pytest
from testinfra.host import Host

from probes import SENTENCE, App, fetch, name


def test_every_app_answers_its_sentence_to_another_host(host: Host, neighbour: Host, app: App) -> None:
    answer = fetch(neighbour, app.url(host))
    assert answer.status == 200
    assert answer.text == SENTENCE
    assert len(answer.body) == 21
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_the_page_says_which_host_release_and_server_answered(host: Host, neighbour: Host, app: App) -> None:
    page = fetch(neighbour, app.url(host, "/")).text
    for fact in (name(host), app.release(host), "gunicorn"):
        assert f"<dd>{fact}" in page


def test_links_lead_below_the_prefix_whatever_a_client_claims(host: Host, neighbour: Host, app: App) -> None:
    forged = {"X-Forwarded-Prefix": "/evil", "SCRIPT_NAME": "/evil"}
    page = fetch(neighbour, app.url(host, "/"), headers=forged).text
    assert f'href="{app.prefix}/hello"' in page
    assert "evil" not in page


def test_json_is_taken_and_answered(host: Host, neighbour: Host, app: App) -> None:
    headers = {"Content-Type": "application/json"}
    answer = fetch(neighbour, app.url(host, "/server"), "POST", headers, json.dumps({"data": {"苹果": 110}}))
    assert json.loads(answer.body) == {"received": {"苹果": 110}, "type": "object", "size": 14}


def test_json_that_cannot_be_read_is_a_400(host: Host, neighbour: Host, app: App) -> None:
    answer = fetch(neighbour, app.url(host, "/server"), "POST", {"Content-Type": "application/json"}, '{"data":')
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["status"] == 400


def test_a_body_over_the_limit_is_refused_by_nginx(host: Host, neighbour: Host, app: App) -> None:
    answer = fetch(neighbour, app.url(host, "/server"), "POST", {"Content-Length": str(10 * 1024**2 + 1)})
    assert answer.status == 413
    assert "nginx" in answer.text


def test_an_unknown_host_name_gets_its_connection_closed_without_an_answer(
    host: Host, neighbour: Host, app: App
) -> None:
    answer = fetch(neighbour, app.url(host), headers={"Host": "elsewhere.example"})
    assert answer.error in ("RemoteDisconnected", "ConnectionResetError")


def test_a_path_of_no_app_is_a_404_of_nginx(host: Host, neighbour: Host, hello: App) -> None:
    answer = fetch(neighbour, f"http://{name(host)}:{hello.port}/gunicorn-of-nobody/hello")
    assert (answer.status, "nginx" in answer.text) == (404, True)


@pytest.mark.parametrize("path", ["/hello", "/no/such/page"])
def test_nginx_does_not_tell_its_version(host: Host, neighbour: Host, app: App, path: str) -> None:
    assert fetch(neighbour, app.url(host, path)).headers["server"] == "nginx"
