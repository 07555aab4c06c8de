"""The report of a benchmark: what it concludes from runs, and that it is the same for the same data."""

from __future__ import annotations

import copy
import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.roles.benchmark.action_plugins.benchmark_report import ActionModule
from ansible_collections.baremetal.web.roles.benchmark.lib import charts
from ansible_collections.baremetal.web.roles.benchmark.lib import report as benchmark_report
from ansible_collections.baremetal.web.roles.benchmark.lib.answer import answer
from ansible_collections.baremetal.web.roles.benchmark.lib.answer import goals as goals_of
from ansible_collections.baremetal.web.roles.benchmark.lib.figures import Figures, Key, Spread
from ansible_collections.baremetal.web.roles.benchmark.lib.problems import problems
from conftest import ROOT

ROUNDS = (0.9, 1.0, 1.2)
# What each subject does at /hello; the other workloads are a share of it.
RATES = {
    "baseline000-gunicorn": 2000, "default": 3000, "gunicorn-sync": 2500, "gevent": 6000, "werkzeug": 900,
    "granian-asgi": 9000, "gthread-2x8": 2000, "gthread-2x16": 4000, "gthread-2x32": 4050, "gthread-2x64": 4100,
}  # fmt: skip
SHARES = {"constant": 1.5, "hello": 1, "io": 0.25, "cpu": 0.1, "mixed": 0.2}
NO_ERRORS = {"connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 0}


def subject(name: str, **more: Any) -> dict[str, Any]:
    nothing = {"tutorial": None, "families": None, "interface": None, "processes": 2, "threads": 4, "files": {}}
    sort = {"title": name, "set": "servers", "reference": False, "default": False, "server": {"kind": "gunicorn"}}
    return {"name": name, **nothing, **sort, "commands": [], **more}


def run(name: str, workload: str, rate: float, round_: int = 1, **more: Any) -> dict[str, Any]:
    """Return a run through nginx by wrk at 100 connections of one second."""
    return {
        **{"subject": name, "access": "unix", "workload": workload, "tool": "wrk", "connections": 100},
        **{"round": round_, "command": "wrk -c100", "client": "web2", "seconds": 1.0, "requests": round(rate)},
        **{"rate": rate, "bytes": 1000, "errors": dict(NO_ERRORS), "start_seconds": 0.2},
        "latency_ms": {"p50": 30000 / rate, "p95": 80000 / rate, "p99": 100000 / rate, "max": 200000 / rate},
        "cpu_seconds": {"server": 0.3 * rate / 1000, "proxy": 0.02 * rate / 1000},
        "memory_bytes": {"server": 50 * 1024 * 1024, "proxy": 1024 * 1024},
        **more,
    }


def rounds(name: str, workload: str, rate: float, **more: Any) -> list[dict[str, Any]]:
    return [run(name, workload, rate * factor, number, **more) for number, factor in enumerate(ROUNDS, 1)]


@pytest.fixture
def data() -> dict[str, Any]:
    """Return a small benchmark that lacks nothing."""
    reference = subject(
        "baseline000-gunicorn", title="gunicorn sync 16 over TCP", set="baselines", reference=True, server=None
    )
    reference |= {"tutorial": "000", "files": {"gunicorn.py": "bind = '0.0.0.0:5000'\nworkers = 16\n"}}
    subjects = [
        subject("nginx-return", set="limits", server=None),
        subject("hop-unix", title="nginx to nginx", set="limits", server=None),
        reference,
        subject("baseline003-threads", set="baselines", tutorial="003", server=None),
        subject("default", title="the untouched default", default=True, server={}),
        subject("gunicorn-sync", server={"worker_class": "sync"}),
        subject("gevent", server={"kind": "gevent"}),
        subject("werkzeug", server={"kind": "werkzeug", "development_enabled": True}),
        subject("granian-asgi", interface="asgi"),
        subject("baseline002-php", set="php", server=None),
    ]
    subjects += [subject(f"gthread-2x{x}", set="sweep", families={"threads": x}) for x in (8, 16, 32, 64)]
    runs = [
        one
        for name, rate in RATES.items()
        for workload, share in SHARES.items()
        for one in rounds(name, workload, rate * share, access="tcp" if name.startswith("baseline") else "unix")
    ]
    runs += [one for at in (1, 16) for one in rounds("default", "hello", 500 * at**0.5, connections=at)]
    runs += rounds("nginx-return", "constant", 90000, access="direct", cpu_seconds={"server": 1, "proxy": 0})
    runs += rounds("hop-unix", "constant", 30000, cpu_seconds={"server": 0.1, "proxy": 0.54})
    for rate, name in ((40000, "nginx-least"), (30000, "nginx-log")):
        subjects.append(subject(name, title=f"settings: {name}", set="nginx", server=None))
        runs += rounds(name, "constant", rate, cpu_seconds={"server": 0.1, "proxy": 900 / rate})
        runs += rounds(name, "large", rate / 2, cpu_seconds={"server": 0.1, "proxy": 900 / rate})
    runs += rounds("baseline000-gunicorn", "hello", 5000, access="direct", tool="ab")
    pool = {"access": "direct", "tool": "pool"}
    runs += rounds("baseline003-threads", "pool-io", 2, connections=1, **pool)
    runs += rounds("baseline003-threads", "pool-io", 2, connections=10, **{**pool, "seconds": 4.5})
    claim = {"tutorial": "000", "what": "gunicorn, 16 workers", "subject": "baseline000-gunicorn", "access": "direct"}
    claim |= {"tool": "ab", "workload": "hello", "connections": 100, "metric": "rate", "unit": "requests/s"}
    of_003 = {"tutorial": "003", "what": "10 that wait", "subject": "baseline003-threads", "metric": "multiple"}
    of_003 |= {"tool": "pool", "workload": "pool-io", "connections": 10, "value": 5.0, "unit": "times one request"}
    of_php = {"tutorial": "002", "what": "PHP", "subject": "baseline002-php", "access": "tcp", "value": 1540.39}
    titles = {**SHARES, "pool-io": 0, "large": 0}
    return {
        **{"format": 1, "name": "first", "started": "2026-11-21T14:50:00Z", "ended": "2026-11-21T15:50:00Z"},
        **{"seconds": 3600, "collection": "0.1.0", "command": "ansible-playbook baremetal.web.benchmark -i staging"},
        "target": {"name": "web1", "platform": "Debian 13.2", "cpus": 2, "machine": "x86_64", "model": ""},
        "client": {"name": "web2", "same_host": False, "platform": "Debian 13.2", "cpus": 2},
        "settings": {"rounds": 3, "seconds": 1, "connections": 100},
        "versions": {"gunicorn": "27.0.1"},
        "workloads": {name: {"title": f"workload {name}", "path": f"/{name}"} for name in titles},
        "subjects": subjects,
        "runs": runs,
        "claims": [
            {**claim, "value": 7593.84, "text": "nearly ten times as many"},
            {**claim, **of_003},
            claim | of_php,
        ],
        "missing": [{"subject": "baseline002-php", "why": "the host has no PHP", "allowed": True}],
    }


def runs_of(data: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    found = [one for one in data["runs"] if all(one[key] == value for key, value in wanted.items())]
    assert found
    return found


def best(data: dict[str, Any], workload: str = "hello", patched: bool = True) -> str:
    cell = Figures(data).best(workload, patched)
    return cell.key.subject if cell else ""


def goals(data: dict[str, Any]) -> list[bool | None]:
    return [goal.reached for goal in goals_of(Figures(data))]


# What the figures say


def test_a_cell_is_the_median_of_its_rounds_and_says_how_far_they_are_apart(data: dict[str, Any]) -> None:
    cell = Figures(data).cells[Key("default", "unix", "hello", "wrk", 100)]
    assert cell.spread("rate") == Spread(3000, 2700, 3600)
    assert str(cell.spread("rate")) == "3,000 (2,700 to 3,600)"
    assert cell["cpu_server"] == pytest.approx(0.3, rel=1e-3)


def test_a_figure_that_the_tool_does_not_give_is_none_and_counts_as_nothing(data: dict[str, Any]) -> None:
    one, *_others = runs_of(data, subject="default", workload="hello", connections=100)
    one["latency_ms"]["p99"] = None
    cell = Figures(data).cells[Key("default", "unix", "hello", "wrk", 100)]
    assert cell["p99"] == pytest.approx((100000 / 3000 + 100000 / 3600) / 2)
    assert cell.spread("p99").least == pytest.approx(100000 / 3600)
    assert Spread.of([None, None]) == Spread(None, None, None)


def test_the_best_is_the_quickest_that_serves_the_app_as_it_is_in_production(data: dict[str, Any]) -> None:
    assert best(data) == "gevent"  # granian-asgi is quicker and serves another app
    assert best(data, patched=False) == "gthread-2x64"


def test_among_those_that_are_alike_the_lowest_p99_decides(data: dict[str, Any]) -> None:
    for one in runs_of(data, subject="gthread-2x16", workload="hello"):
        one["latency_ms"]["p99"] = 1.0
    assert best(data, patched=False) == "gthread-2x16"
    for one in runs_of(data, subject="gthread-2x8", workload="hello"):
        one["latency_ms"]["p99"] = 0.1
    assert best(data, patched=False) == "gthread-2x16"


@pytest.mark.parametrize("kind", NO_ERRORS)
def test_a_cell_with_an_error_in_one_round_is_never_the_best_and_shows_it(data: dict[str, Any], kind: str) -> None:
    runs_of(data, subject="gevent", workload="hello")[1]["errors"][kind] = 1
    assert best(data) == "gthread-2x64"
    assert best(data, "io") == "gevent"
    text = benchmark_report.files(data)["index.html"]
    assert "gevent† ✗ 1 errors" in text
    assert re.search(r"<tr><td[^>]*>gevent†</td><td>unix</td>.*✗ 6,000", text)


def test_a_subject_that_lacks_a_round_is_never_the_best_and_shows_it(data: dict[str, Any]) -> None:
    data["runs"] += [one for name in ("hello", "io") for one in rounds("gevent", name, 7000, access="tcp")]
    crashed("gevent")(data)
    assert {best(data, name) for name in SHARES} == {"gevent", "gthread-2x64"}
    assert Figures(data).best("hello").key.access == "tcp"  # by the other way it lacks nothing
    assert all(cell.key.access == "tcp" for cell in Figures(data).candidates("io") if cell.key.subject == "gevent")
    text = benchmark_report.files(data)["index.html"]
    assert "gevent† ✗ rounds missing" in text
    assert re.search(r"<tr><td[^>]*>gevent†</td><td>unix</td>.*✗ 6,000", text)
    assert "<li>gevent (unix), round 2: it has ended</li>" in text
    data["missing"][-1] = {"subject": "gevent", "why": "it has ended"}
    assert best(data) == "gthread-2x64"
    assert "<li>gevent: it has ended</li>" in benchmark_report.files(data)["index.html"]


def test_what_is_not_the_best_for_want_of_a_round_is_no_limit_and_reaches_no_goal(data: dict[str, Any]) -> None:
    crashed("default")(data)
    assert goals(data)[2:4] == [False, False]
    assert "rounds missing" in goals_of(Figures(data))[2].note
    data["missing"].append({"subject": "nginx-return", "access": "direct", "round": 1, "why": "it has ended"})
    assert "nginx answering by itself" not in answer(Figures(data))[2]


@pytest.mark.parametrize("latency", [None, 0.0], ids=["", "older data"])
def test_a_cell_without_any_answer_says_so_and_has_no_latency(data: dict[str, Any], latency: float | None) -> None:
    for one in runs_of(data, subject="gunicorn-sync", workload="hello"):
        one.update(requests=0, rate=0.0, latency_ms=dict.fromkeys(one["latency_ms"], latency))
        one["errors"]["timeout"] = 100
    assert Figures(data).cells[Key("gunicorn-sync", "unix", "hello", "wrk", 100)]["p99"] is None
    assert problems(data) == []
    text = benchmark_report.files(data)["index.html"]
    assert "gunicorn-sync ✗ nothing answered, 300 errors: 0" in text
    runs_of(data, subject="gunicorn-sync", workload="hello")[0]["requests"] = 1
    assert "gunicorn-sync ✗ nothing answered in 2 of 3 rounds, 300" in benchmark_report.files(data)["index.html"]


@pytest.mark.parametrize("kind", ["timeout", "failed"])
def test_kinds_of_errors_that_not_every_tool_tells_count_as_failed(data: dict[str, Any], kind: str) -> None:
    one = runs_of(data, subject="gevent", workload="hello")[0]
    one["errors"] |= {kind: 25, "status": 2}
    cell = Figures(data).cells[Key("gevent", "unix", "hello", "wrk", 100)]
    assert (cell.failed, cell.refused, cell.clean) == (25, 2, False)
    rows = [*csv.DictReader(benchmark_report.files(data)["runs.csv"].splitlines())]
    assert [row[f"errors_{kind}"] for row in rows if row[f"errors_{kind}"] not in ("", "0")] == ["25"]


def test_the_reference_the_guides_and_the_limits_are_never_the_best(data: dict[str, Any]) -> None:
    for one in runs_of(data, subject="baseline000-gunicorn", access="tcp"):
        one["rate"] *= 100
    assert best(data, "constant") == "gevent"


def test_what_was_asked_with_other_connections_is_not_compared(data: dict[str, Any]) -> None:
    data["runs"] += rounds("gunicorn-sync", "hello", 90000, connections=256)
    assert best(data) == "gevent"


def test_the_knee_is_the_least_that_comes_near_the_best(data: dict[str, Any]) -> None:
    (curve,) = (curve for curve in Figures(data).families["threads"] if curve.workload == "hello")
    assert [point.x for point in curve.points] == [8, 16, 32, 64]
    assert (curve.best, curve.knee) == (4100, 16)
    for one in runs_of(data, subject="gthread-2x16", workload="hello"):
        one["errors"]["timeout"] = 1
    assert next(curve.knee for curve in Figures(data).families["threads"] if curve.workload == "hello") == 32


def test_what_was_asked_at_several_numbers_of_connections_is_a_curve(data: dict[str, Any]) -> None:
    (curve,) = Figures(data).over_connections["hello"]
    assert [point.x for point in curve.points] == [1, 16, 100]


def test_a_claim_stands_beside_what_was_measured_in_the_same_way(data: dict[str, Any]) -> None:
    rate, multiple, php = Figures(data).claims
    assert (rate.claimed, rate.measured, rate.ratio) == (7593.84, 5000, pytest.approx(0.658, abs=0.001))
    assert (multiple.measured, multiple.ratio) == (4.5, 0.9)
    assert (php.measured, php.ratio, php.note) == (None, None, "the host has no PHP")


def test_the_goals_go_by_ratios_and_need_answers_without_an_error(data: dict[str, Any]) -> None:
    # hello best 3 times, io best 3 times of 5; default 1.5 times, of 3; then 0.5 of the best, three times; the hop
    assert goals(data) == [True, False, True, False, False, False, False, True]
    assert goals_of(Figures(data))[0].measured == "3.00 times, p99 0.333 times"
    assert "of the best that does not: 0.732 times" in goals_of(Figures(data))[4].note
    runs_of(data, subject="default", workload="hello", connections=100)[0]["errors"]["status"] = 3
    assert goals(data)[2] is False


def test_a_goal_without_its_figures_is_not_measured(data: dict[str, Any]) -> None:
    data["runs"] = [one for one in data["runs"] if one["subject"] != "baseline000-gunicorn"]
    assert goals(data)[:4] == [None] * 4


def test_the_answer_is_three_sentences(data: dict[str, Any]) -> None:
    choice, comparison, distance = answer(Figures(data))
    assert choice.startswith("Choose gevent for constant (9,000 requests/s, p99 11.1 ms), hello (6,000 ")
    assert "where nothing may patch the app's world, as gevent does, gthread-2x64 for constant" in choice
    assert "on hello the untouched default gives 1.50 times the requests/s at 0.667 times the p99" in comparison
    assert "nginx answering by itself gives 90,000 requests/s, 10.0 times what gevent, the best" in distance
    assert "costs the default 0.020 CPU s per 1,000 requests, 1.11 times nginx to nginx (0.018)" in distance


@pytest.mark.parametrize(
    ("busy", "marked"),
    [((0.2, 0.9, 0.97), True), ((0.2, None, 0.97), False), ((0.97, 0.89, 0.1), False), ((None, None, 0.9), True)],
)
def test_a_rate_that_the_tool_may_have_held_back_is_marked(
    data: dict[str, Any], busy: tuple[float | None, ...], marked: bool
) -> None:
    data["runs"] += rounds("default", "constant", 90000, tool="siege", client_cpu=1.9)
    for one, cpu in zip(runs_of(data, subject="nginx-return"), busy, strict=True):
        one["client_cpu"] = cpu
    least = "at least " if marked else ""
    assert f"nginx answering by itself gives {least}90,000 requests/s, 10.0 times" in answer(Figures(data))[2]
    text = benchmark_report.page(Figures(data))
    assert re.findall(r'<td class="n">≥ ([\d,]+)', text) == (["90,000"] if marked else [])


def test_the_hop_is_compared_with_what_is_asked_as_often(data: dict[str, Any]) -> None:
    data["subjects"].append(subject("hop-app", title="the least before an app", set="limits", server={}))
    for workload, proxy in (("constant", 0.16), ("hello", 0.01)):
        data["runs"] += rounds("hop-app", workload, 5000, cpu_seconds={"server": 1, "proxy": proxy * 5})
    figures = Figures(data)
    assert "0.125 times the least before an app (0.160)" in answer(figures)[2]
    assert goals_of(figures)[-1].what == "CPU of the proxy for the default, against the least before an app"
    assert problems(data) == []


def test_settings_of_nginx_have_their_charts_and_are_compared_with_nothing_else(data: dict[str, Any]) -> None:
    figures = Figures(data)
    assert {name: [cell.key.subject for cell in cells] for name, cells in figures.settings.items()} == {
        workload: ["nginx-least", "nginx-log"] for workload in ("constant", "large")
    }
    assert "large" not in figures.workloads
    assert "nginx-least" not in {cell.key.subject for cell in figures.compared("constant")}
    page = benchmark_report.page(figures)
    settings = page[page.index('id="settings"') : page.index('id="scaling"')]
    assert settings.count("<svg") == 2
    assert settings.count("settings: nginx-log") >= 2


def test_the_answer_names_nothing_when_there_is_nothing_to_name(data: dict[str, Any]) -> None:
    data["runs"] = []
    choice, comparison, distance = answer(Figures(data))
    assert "none is to be chosen" in choice
    assert "Nothing can be compared" in comparison
    assert "not known" in distance
    assert "<html" in benchmark_report.files(data)["index.html"]


# What is missing


def test_a_complete_benchmark_has_no_problems_however_slow_it_is(data: dict[str, Any]) -> None:
    for one in runs_of(data, subject="default"):
        one["rate"] /= 100
    assert problems(data) == []


def without(name: str, **wanted: Any) -> Callable[[dict[str, Any]], Any]:
    def _without(data: dict[str, Any]) -> None:
        gone = runs_of(data, subject=name, **wanted)
        data["runs"] = [one for one in data["runs"] if one not in gone]

    return _without


def crashed(name: str, **more: Any) -> Callable[[dict[str, Any]], Any]:
    """Let a subject end in its second round, when io is asked."""

    def _crashed(data: dict[str, Any]) -> None:
        without(name, workload="io", round=2)(data)
        entry = {"subject": name, "access": "unix", "round": 2, "why": "it has ended", "workloads": ["hello", "io"]}
        data["missing"].append(entry | more)

    return _crashed


def change(name: str, **values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda data: [one.update(values) for one in data["subjects"] if one["name"] == name]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda data: data.update(format=2), "its format is 2; this version of the collection reads 1."),
        (lambda data: data.pop("claims"), "it has no claims."),
        (without("gevent"), "gevent has no runs, and nothing says why."),
        (without("gevent", workload="io", round=2), "gevent (unix), io, wrk with 100 connections: 2 of 3 rounds."),
        (lambda data: data["runs"].append(run("gevent", "io", 1, 3)), "a round is there twice."),
        (change("baseline000-gunicorn", reference=False), "one subject has to be the reference"),
        (change("gevent", default=True), "the untouched default; here default and gevent are."),
        (without("default", workload="io"), "default was not asked for io through nginx with 100 connections"),
        (without("baseline000-gunicorn", workload="cpu"), "baseline000-gunicorn was not asked for cpu"),
        (lambda data: data["runs"].append(run("other", "io", 1)), "runs of other, which is no subject."),
        (lambda data: data["runs"].extend(rounds("gevent", "odd", 1)), "odd is no workload."),
        (lambda data: data["runs"][0].update(requests=0), "no request was answered, and none failed."),
        (lambda data: data["runs"][0].update(rate=None), "it has no rate."),
        (lambda data: data["subjects"].append(subject("gevent")), "gevent is the name of 2 subjects."),
        (lambda data: data["missing"][0].update(why=""), "baseline002-php is missing, and nothing says why."),
        (lambda data: data["missing"][0].pop("allowed"), "baseline002-php could not be measured: the host has no PHP."),
        (crashed("gevent"), "gevent (unix), round 2 could not be measured: it has ended."),
        (
            lambda data: (crashed("gevent")(data), without("gevent", workload="io", round=3)(data)),
            "gevent (unix), io, wrk with 100 connections: 1 of 3 rounds.",
        ),
        (
            lambda data: data["missing"].append({"subject": "default", "why": "no answer", "allowed": True}),
            "the untouched default could not be measured: no answer",
        ),
        (
            without("baseline003-threads", connections=1),
            "nothing was measured for a claim of tutorial 003: 10 that wait",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_benchmark_lacks_is_said(data: dict[str, Any], spoil: Callable[..., Any], sentence: str) -> None:
    spoil(data)
    assert any(sentence in said for said in problems(data)), problems(data)
    if benchmark_report.legible(data):
        assert "is not complete" in benchmark_report.files(data)["index.html"]


# The files


class Page(HTMLParser):
    """Every element of a page, and whether each that was opened was closed."""

    VOID = ("meta", "br")

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open += [] if tag in self.VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_no_network(data: dict[str, Any]) -> None:
    text = benchmark_report.files(data)["index.html"]
    page = Page(text)
    assert page.open == []
    assert {attributes["href"] for _tag, attributes in page.found if "href" in attributes} == {"runs.csv", DATA_NAME}
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _attributes in page.found}
    assert "src" not in {name for _tag, attributes in page.found for name in attributes}
    assert not re.search(r"https?:|//\w|@import", text)
    assert set(re.findall(r"url\((.*?)\)", text)) <= {f"#{attributes.get('id')}" for _tag, attributes in page.found}


DATA_NAME = "benchmark.json"


def test_the_page_has_its_parts_in_order_and_every_chart_has_a_unit(data: dict[str, Any]) -> None:
    text = benchmark_report.files(data)["index.html"]
    parts = [
        'id="answer"',
        'id="goals"',
        "What the tutorials claim",
        "Charts",
        "Scaling",
        "Raw data",
        "What is missing",
        "Where and",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    charts = re.findall(r'<svg class="chart".*?</svg>', text, re.DOTALL)
    assert len(charts) == 5 * 3 + 2 + 2 + 1 + 1
    assert all(
        re.search(r'class="title"[^>]*>[^<]*(/s|ms|CPU s|MiB|s from|threads|connections)', one) for one in charts
    )
    assert "ring" in text
    assert text.count('class="knee"') == 5 + 1


def test_the_lines_of_a_chart_differ_without_their_colours() -> None:
    lines = [charts.Line({1: index + 1, 2: 2}) for index in range(charts.LINES)]
    svg = charts.lines("t", "threads", "requests/s", lines)
    assert len(set(re.findall(r'stroke-dasharray="([^"]+)"', svg))) == charts.LINES - 1  # and a whole one
    assert len(set(re.findall(r'<path d="(M[^"]+)" transform', svg))) == charts.LINES


def test_what_comes_from_elsewhere_is_text_in_the_page_and_in_the_summary(data: dict[str, Any]) -> None:
    evil = "</pre><script>alert(1)</script> | \"'&"
    data["subjects"][6].update(title=evil, commands=[evil], files={evil: evil}, server={"kind": "gevent", "x": evil})
    data["subjects"][10]["families"] = {evil: 8}
    data["subjects"][11]["families"] = {evil: 16}
    data["claims"][0].update(text=evil, what=evil)
    data["missing"].append({"subject": "gevent", "why": evil})
    data["name"] = data["command"] = data["target"]["model"] = data["versions"][evil] = evil
    files = benchmark_report.files(data)
    assert "script" not in {tag for tag, _attributes in Page(files["index.html"]).found}
    assert "<script" not in files["summary.md"]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in files["summary.md"].splitlines() if line.startswith("| ")}
    assert widths == {6, 8}


def test_a_document_of_an_older_version_is_read(data: dict[str, Any], tmp_path: Path) -> None:
    data["claims_not_chosen"] = [{"tutorial": "002", "what": "PHP behind nginx"}]
    old = json.dumps(data).replace('"tutorial":', '"seed":')
    assert old != json.dumps(data)
    (tmp_path / DATA_NAME).write_text(old)
    assert benchmark_report.read(str(tmp_path)) == json.loads(json.dumps(data))


def test_the_same_data_give_the_same_bytes(data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / DATA_NAME).write_text(json.dumps(data))
    code = f"""
import sys; sys.path[:0] = {[str(ROOT / ".collections")]!r}
from hashlib import sha256
from ansible_collections.baremetal.web.roles.benchmark.lib import report
for name, text in report.files(report.read({str(tmp_path)!r})).items():
    print(name, sha256(text.encode()).hexdigest())
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, check=True
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(said) == 1
    assert said.pop().count(b"\n") == 3


def test_the_table_of_runs_holds_what_was_measured(data: dict[str, Any]) -> None:
    data["runs"][0]["latency_ms"]["p99"] = None
    data["runs"][1]["command"] = 'wrk -s "a, b"\n'
    rows = [*csv.DictReader(benchmark_report.runs_table(data["runs"]).splitlines(keepends=True))]
    assert len(rows) == len(data["runs"])
    for row, one in zip(rows, data["runs"], strict=True):
        for column, keys in benchmark_report.COLUMNS.items():
            value = one
            for key in keys:
                value = value.get(key)
            assert row[column] == ("" if value is None else str(value))


def test_the_summary_is_short_and_has_the_answer_and_the_goals(data: dict[str, Any]) -> None:
    text = benchmark_report.files(data)["summary.md"]
    assert all(sentence in text for sentence in answer(Figures(data)))
    assert text.count("| yes |") + text.count("| no |") == len(goals_of(Figures(data)))
    assert "| hello | best that patches nothing | gthread-2x64 |" in text
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ({"same_host": True, "same_machine": True}, "from the measured host itself"),
        ({"same_host": False, "same_machine": True}, "from the machine that the measured host is on"),
    ],
)
def test_one_host_or_machine_for_client_and_servers_is_said(
    data: dict[str, Any], client: dict[str, bool], words: str
) -> None:
    assert not any("to trust" in text for text in benchmark_report.files(data).values())
    data["client"] |= client
    found = benchmark_report.files(data).values()
    assert [f"The load came {words}" in text and "to trust" in text for text in found] == [True, False, True]


def test_the_page_says_what_ran(data: dict[str, Any]) -> None:
    assert "The untouched default is" not in benchmark_report.page(Figures(data))
    gthread = {"kind": "gunicorn", "version": "25.1", "worker_class": "gthread", "workers": 2, "threads": 32}
    change("default", resolved={**gthread, "command": ["gunicorn", "--config", "a b.py"]})(data)
    change("gevent", resolved={"kind": "gevent", "version": None, "workers": 1, "threads": None, "command": []})(data)
    change("werkzeug", resolved=None)(data)
    change("granian-asgi", resolved={"kind": "granian", "command": "granian --workers 2"})(data)
    text = benchmark_report.page(Figures(data))
    said = "gunicorn 25.1 gthread, 2 workers \N{MULTIPLICATION SIGN} 32 threads"
    assert text.index('id="answer"') < text.index(f"<p>The untouched default is {said}.</p>") < text.index('id="goals"')
    subjects = text[text.index("Subjects: commands") :]
    assert f"<p>{said}</p>\n<pre>gunicorn --config &#39;a b.py&#39;\n</pre>" in subjects
    assert "<p>gevent, 1 worker</p>" in subjects
    assert "<p>granian</p>\n<pre>granian --workers 2\n</pre>" in subjects


def test_the_page_prints_the_files_that_commands_name_and_the_bytes_of_each_cell(data: dict[str, Any]) -> None:
    assert "percentiles.lua" not in benchmark_report.page(Figures(data))
    data["scripts"] = {"percentiles.lua": "done = <b>", "siege.conf": "limit = 255"}
    for one, mebis in zip(runs_of(data, subject="default", workload="io"), (7, 24.68, 30), strict=True):
        one.update(bytes=mebis * 1024 * 1024, seconds=2)
    text = benchmark_report.page(Figures(data))
    raw = text[text.index('id="raw"') : text.index("What is missing")]
    assert "<h4>percentiles.lua</h4>\n<pre>done = &lt;b&gt;</pre>" in raw
    assert "<h4>siege.conf</h4>" in raw
    assert '<td class="n">12.3</td>' in raw


def test_claims_whose_set_was_not_chosen_are_named_below_their_guide(data: dict[str, Any]) -> None:
    assert "not chosen" not in benchmark_report.page(Figures(data))
    php, other = {"tutorial": "002", "what": "PHP behind nginx"}, {"tutorial": "004", "what": "what nobody measures"}
    data["claims_not_chosen"] = [php, {**php, "what": "PHP <by itself>"}, other]
    tutorials = re.split("<h3>", benchmark_report.page(Figures(data)).partition('id="charts"')[0])
    said = {
        tutorial[:12]: tutorial.partition("</table>")[2] or tutorial
        for tutorial in tutorials
        if "not chosen" in tutorial
    }
    assert [*said] == ["Tutorial 002", "Tutorial 004"]
    assert "<p>not chosen: PHP behind nginx, PHP &lt;by itself&gt;</p>" in said["Tutorial 002"]
    assert "<p>not chosen: what nobody measures</p>" in said["Tutorial 004"]


# The action


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    def _report(check_mode: bool = False, **args: Any) -> dict[str, Any]:
        action = object.__new__(ActionModule)
        args = {"path": str(tmp_path), **args}
        action._task = SimpleNamespace(
            args=args, check_mode=check_mode, async_val=0, action="benchmark_report", diff=False
        )
        action._connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
        action._supports_check_mode, action._supports_async = True, False
        return action.run(task_vars={})

    return _report


def test_a_report_is_written_once(report: Callable[..., Any], tmp_path: Path, data: dict[str, Any]) -> None:
    (tmp_path / DATA_NAME).write_text(json.dumps(data))
    assert report(check_mode=True)["changed"]
    assert [path.name for path in tmp_path.iterdir()] == [DATA_NAME]
    first = report()
    assert first["changed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [DATA_NAME, "index.html", "runs.csv", "summary.md"]
    assert first["paths"] == [str(tmp_path / name) for name in ("index.html", "runs.csv", "summary.md")]
    assert (len(first["answer"]), first["problems"]) == (3, [])
    assert not report()["changed"]
    (tmp_path / "runs.csv").unlink()
    assert report()["changed"]


def test_what_is_no_benchmark_is_refused(report: Callable[..., Any], tmp_path: Path, data: dict[str, Any]) -> None:
    with pytest.raises(AnsibleError, match="has to be the directory of a benchmark"):
        report()
    (tmp_path / DATA_NAME).write_text('{"format": 1, "ru')
    with pytest.raises(AnsibleError, match="is no JSON"):
        report()
    (tmp_path / DATA_NAME).write_text(json.dumps({**data, "format": 7}))
    assert report()["failed"]
    assert "its format is 7" in report()["msg"]


def test_a_report_without_its_library_says_how_to_get_it_before_there_is_any_data(
    report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report(phase="check") == {"changed": False}
    monkeypatch.setitem(sys.modules, "pygal", None)
    with pytest.raises(AnsibleError, match=r"need pygal, .*-m pip install pygal` and try again\.$"):
        report(phase="check")


def test_whoever_installs_the_collection_with_its_dependencies_gets_the_library() -> None:
    named = yaml.safe_load((ROOT / "meta/execution-environment.yml").read_text())["dependencies"]["python"]
    assert "pygal" in (ROOT / named).read_text()
    assert "pygal" in (ROOT / "requirements-dev.in").read_text().split()


def test_the_data_of_a_report_are_left_as_they_are(data: dict[str, Any]) -> None:
    before = copy.deepcopy(data)
    benchmark_report.files(data)
    problems(data)
    assert data == before
