"""python_proxy: packages come through a real proxy with a login, which nobody gets to see, and nothing else changes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from indexes import NAME, Index, Proxy, add_source, add_wheel, certificate
from test_venv import UV, answer

from ansible_collections.baremetal.web.plugins.filter.proxy_problems import proxy_problems
from ansible_collections.baremetal.web.plugins.module_utils._host import index_proxy
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import VenvError, install

USER, PASSWORD = "deploy", "s3cret:p@ss/word"
LOGIN = f"{USER}:{quote(PASSWORD, safe='')}"
TELLS = """
import os, sys
def build_wheel(*_arguments, **_more):
    names = ("HTTP_PROXY", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "UV_NO_CONFIG")
    sys.exit(" ".join(f"{name}={os.environ.get(name)}" for name in names))
"""
TOOLS = ["pip", *(["uv"] if UV else [])]
tools = pytest.mark.parametrize("tool", TOOLS)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheels")
    add_wheel(directory, "probe")
    add_source(directory, "tells", TELLS)
    return directory


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def proxy() -> Proxy:
    return Proxy(USER, PASSWORD)


Fetch = Callable[..., Path]


@pytest.fixture
def fetch(tmp_path: Path, shared_environment: Callable[[str], Path], keys: tuple[Path, Path]) -> Fetch:
    """Install a package with pip or uv, which trust the certificate of the tests as hosts trust their authorities."""

    def _fetch(tool: str, index_url: str, wanted: str = "probe", **options: Any) -> Path:
        home, file, uv = tmp_path / "home", tmp_path / "app.txt", tmp_path / "uv"
        home.mkdir(exist_ok=True)
        place = shared_environment(tool)
        trusted = f"--trusted-host {NAME}\n" if tool == "pip" else ""
        file.write_text(f"{trusted}{wanted}\n")
        uv.write_text(
            f"#!/bin/sh\ncat /proc/[0-9]*/cmdline > {tmp_path}/seen 2>&1\n"
            f'SSL_CERT_FILE={keys[0]} UV_HTTP_RETRIES=0 exec {shutil.which(UV or "uv")} "$@"\n'
        )
        uv.chmod(0o755)
        own = {"uv": str(uv)} if tool == "uv" else {}
        install(str(place), sys.executable, [str(file)], home=str(home), index_url=index_url, **own, **options)
        return place

    return _fetch


@tools
def test_packages_of_an_https_index_come_through_a_tunnel_of_the_proxy(
    fetch: Fetch, proxy: Proxy, wheels: Path, keys: tuple[Path, Path], tool: str, tmp_path: Path
) -> None:
    index = Index(wheels, keys)
    environment = fetch(tool, index.url(NAME), proxy_url=f"http://{LOGIN}@{proxy.place}")
    assert answer(environment).stdout == "42\n"
    assert set(proxy.tunnels) == {f"{NAME}:{index.port}"}
    assert index.asked
    if tool == "uv":  # a snapshot of all processes, while it ran
        seen = (tmp_path / "seen").read_text()
        assert "--compile-bytecode" in seen
        assert [secret for secret in (PASSWORD, quote(PASSWORD, safe="")) if secret in seen] == []


@tools
def test_packages_of_a_plain_index_are_asked_of_the_proxy(fetch: Fetch, proxy: Proxy, wheels: Path, tool: str) -> None:
    index = Index(wheels)
    assert answer(fetch(tool, index.url(NAME), proxy_url=f"http://{LOGIN}@{proxy.place}")).stdout == "42\n"
    assert len(proxy.forwarded) == len(index.asked) > 1


@tools
@pytest.mark.parametrize("exception", ["127.0.0.1", "127.0.0.0/8", "localhost"])
def test_what_no_proxy_names_is_reached_without_it(
    fetch: Fetch, proxy: Proxy, wheels: Path, tool: str, exception: str
) -> None:
    index = Index(wheels)
    url = index.url("localhost" if exception == "localhost" else "127.0.0.1")
    options = {"proxy_url": f"http://{LOGIN}@{proxy.place}", "no_proxy": ["other.example", exception]}
    assert answer(fetch(tool, url, **options)).stdout == "42\n"
    assert (proxy.forwarded, proxy.tunnels, proxy.refused) == ([], [], 0)


@pytest.mark.parametrize(("tool", "scheme"), [(tool, scheme) for tool in TOOLS for scheme in ("http", "https")])
def test_a_proxy_that_refuses_the_login_is_named_without_it(
    fetch: Fetch, proxy: Proxy, wheels: Path, keys: tuple[Path, Path], tool: str, scheme: str
) -> None:
    index = Index(wheels, keys if scheme == "https" else None)
    with pytest.raises(VenvError) as refusal:
        fetch(tool, index.url(NAME), proxy_url=f"http://{USER}:wr0ng-w0rd@{proxy.place}")
    said = str(refusal.value)
    assert f"through the proxy {proxy.place} of python_proxy" in said
    assert "wr0ng-w0rd" not in said
    # pip cannot tell a plain index that a proxy refused from one that has nothing.
    assert ("There is no wheel" in said) == ((tool, scheme) == ("pip", "http"))
    assert proxy.refused
    assert index.asked == []


@pytest.mark.skipif(not UV, reason="uv is not installed")
def test_a_proxy_that_is_not_there_is_named_without_its_login(fetch: Fetch) -> None:
    with pytest.raises(VenvError) as refusal:
        fetch("uv", f"http://{NAME}/simple/", proxy_url=f"http://{LOGIN}@127.0.0.1:1")
    said = str(refusal.value)
    assert "through the proxy 127.0.0.1:1 of python_proxy" in said
    assert [secret for secret in (PASSWORD, quote(PASSWORD, safe="")) if secret in said] == []


@pytest.mark.skipif(not UV, reason="uv is not installed")
def test_an_index_that_is_not_reached_without_a_proxy_makes_the_message_name_the_key(fetch: Fetch) -> None:
    with pytest.raises(VenvError, match="through a proxy only, set python_proxy") as refusal:
        fetch("uv", "http://127.0.0.1:1/simple/")
    assert "python_proxy.no_proxy" not in str(refusal.value)


@tools
def test_a_build_that_shows_its_environment_shows_no_login(fetch: Fetch, proxy: Proxy, wheels: Path, tool: str) -> None:
    index = Index(wheels)
    url = index.url(NAME).replace("http://", "http://reader:1ndex-word@")
    with pytest.raises(VenvError) as refusal:
        fetch(tool, url, "tells", proxy_url=f"http://{LOGIN}@{proxy.place}", source_builds=True)
    said = str(refusal.value)
    assert f"http://{proxy.place}" in said  # it did show them
    assert [secret for secret in (PASSWORD, quote(PASSWORD, safe=""), "1ndex-word") if secret in said] == []


@pytest.mark.skipif(not UV, reason="uv is not installed")
def test_with_a_directory_of_wheels_the_proxy_is_not_told_to_anybody(fetch: Fetch, proxy: Proxy, wheels: Path) -> None:
    said = {"proxy_url": f"http://{LOGIN}@{proxy.place}", "wheels": str(wheels), "source_builds": True}
    with pytest.raises(VenvError) as refusal:
        fetch("uv", "", "tells", **said)
    assert "UV_NO_CONFIG=1" in str(refusal.value)  # it did show them
    assert proxy.place not in str(refusal.value)


def test_another_proxy_installs_nothing_again(
    run_module: Callable[..., dict[str, Any]], proxy: Proxy, wheels: Path, tmp_path: Path
) -> None:
    index = Index(wheels)
    wanted = {"path": str(tmp_path / "venv"), "requirements": "probe==1.0\n", "index_url": index.url(NAME)}
    wanted["uv"] = UV or "/nonexistent"
    first = run_module("venv", {**wanted, "proxy_url": f"http://{LOGIN}@{proxy.place}"})
    assert (first["failed"], first["changed"]) == (False, True)
    second = run_module("venv", {**wanted, "proxy_url": "http://other.example:3128", "no_proxy": ["x.example"]})
    assert (second["failed"], second["changed"]) == (False, False)


# What is refused.

GOOD = [
    "http://proxy.example:3128",
    "HTTP://proxy.example:3128/",
    "http://proxy.example",
    "http://10.0.0.1:3128",
    "http://[2001:db8::1]:3128",
    "http://proxy_1:3128",
    "http://me@proxy.example:3128",
    f"http://{LOGIN}@proxy.example:3128",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_proxy_that_the_tools_can_use_is_taken(url: str) -> None:
    exceptions = ["pypi.internal.example", ".internal.example", "10.0.0.0/8", "192.0.2.7", "2001:db8::1", "localhost"]
    assert proxy_problems({"url": url, "no_proxy": exceptions}) == []


def test_no_proxy_is_the_default() -> None:
    assert proxy_problems({}) == []
    assert index_proxy.variables("", ["a.example"]) == {}


BAD = [
    ("proxy.example:3128", "(proxy.example:3128) has no scheme; write http://HOST:PORT"),
    ("me:hunter2@proxy.example:3128", "(proxy.example:3128, without its login) has no scheme"),
    ("//me:hunter2@proxy.example:3128", "has no scheme"),
    ("", "has no scheme"),
    ("http:/proxy.example:3128", "has no scheme"),
    ("socks5://me:hunter2@proxy.example:1080", "has the scheme socks5; only http is supported"),
    ("https://me:hunter2@proxy.example:3128", "has the scheme https; only http is supported"),
    ("http://me:hunter2@:3128", "has no host"),
    ("http://", "has no host"),
    ("http://me:hunter2@proxy .example:3128", "has no host"),
    ("http://[::g]:3128", "has no host"),
    ("http://me:hunter2@proxy.example:port", "has a port that is no number"),
    ("http://me:hunter2@proxy.example:0", "has a port that is no number"),
    ("http://me:hunter2@proxy.example:70000", "has a port that is no number"),
    ("http://me:hunter2@proxy.example:", "has a port that is no number"),
    ("http://me:hunter2", "has a port that is no number"),
    ("http://me:hunter2@proxy.example:3128/path", "has a path, a query or a fragment"),
    ("http://me:hunter2@proxy.example:3128?a=hunter2", "has a path, a query or a fragment"),
    ("http://me:hunter2@proxy.example:3128#hunter2", "has a path, a query or a fragment"),
    ("http://me:hun/hunter2@proxy.example:3128", "write / as %2F"),
    ("http://me:hunter2@1@proxy.example:3128", "Write them as %XX"),
    ("http://me:hunter2%1@proxy.example:3128", "Write them as %XX"),
    ("http://me:hunter2 1@proxy.example:3128", "Write them as %XX"),
    ("http://me:hunter2é@proxy.example:3128", "Write them as %XX"),
    ("http://me:hunter2\n@proxy.example:3128", "Write them as %XX"),
]


@pytest.mark.parametrize(("url", "sentence"), BAD)
def test_a_proxy_that_cannot_work_is_refused_without_its_login(url: str, sentence: str) -> None:
    (said,) = proxy_problems({"url": url})
    assert said.startswith("python_proxy: url (")
    assert sentence in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("*", "leave url out"),
        ("*.example.com", "write .example.com"),
        ("http://pypi.example", "write a list"),
        ("http://me:hunter2@pypi.example", "write a list"),
        ("a.example b.example", "write a list"),
        ("pypi.example:8080", "write the name alone"),
        ("10.0.0.0/64", "no IPv4 network"),
        ("2001:db8::/32", "no IPv4 network"),
        ("pypi..example", "no name, address or IPv4 network"),
    ],
)
def test_an_exception_that_would_never_hold_is_refused(entry: str, sentence: str) -> None:
    (said,) = proxy_problems({"url": "http://proxy.example:3128", "no_proxy": [entry]})
    assert sentence in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"no_proxy": ["a.example"]}, "url () has no scheme"),
        ({"url": "http://p.example:1", "noproxy": []}, "unknown key noproxy (did you mean no_proxy?)"),
        ({"https": "http://me:hunter2@p.example:1"}, "unknown key https"),
        ({"url": ["http://me:hunter2@p.example:1"]}, "url is a list; it must be text"),
        ("http://me:hunter2@p.example:1", "python_proxy is no dictionary"),
        ("", "python_proxy is no dictionary"),
        (["http://me:hunter2@p.example:1"], "python_proxy is no dictionary"),
        (None, "python_proxy is no dictionary"),
    ],
)
def test_what_is_out_of_shape_is_refused(value: Any, sentence: str) -> None:
    (said,) = proxy_problems(value)
    assert sentence in said
    assert "hunter2" not in said


# What is shown.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("via http://me:hunter2%21@proxy:3128/", "via http://proxy:3128/"),
        ("the word is hunter2!", "the word is (login)"),
        ("Proxy-Authorization: Basic bWU6aHVudGVyMiE=", "Proxy-Authorization: Basic (login)"),
        ("me is at proxy:3128", "me is at proxy:3128"),
    ],
)
def test_a_login_is_taken_out_of_a_text_in_each_of_its_forms(text: str, shown: str) -> None:
    assert index_proxy.conceal(text, ["http://me:hunter2%21@proxy:3128", "", "http://other:3128"]) == shown


def test_a_login_of_few_signs_is_taken_out_as_a_word_alone() -> None:
    assert index_proxy.conceal("no package: a", ["http://a@proxy:3128"]) == "no package: (login)"
