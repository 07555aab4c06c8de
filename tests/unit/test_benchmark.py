"""What a benchmark measures, in which order, and how the tools' reports are read."""

from __future__ import annotations

import http.server
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options
from ansible_collections.baremetal.web.roles.benchmark.filter_plugins.benchmark_plan import benchmark_plan
from ansible_collections.baremetal.web.roles.benchmark.lib.plan import Plan, PlanError, Settings, document
from ansible_collections.baremetal.web.roles.benchmark.library import benchmark_subject
from ansible_collections.baremetal.web.roles.benchmark.library.benchmark_load import (
    LoadError,
    read_ab,
    read_siege,
    read_wrk,
    send,
)
from conftest import ROOT, run_ansible

ROLE = ROOT / "roles" / "benchmark"
TABLES = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
SETS, LOADS, WORKLOADS = (TABLES[f"__benchmark_{name}"] for name in ("sets", "loads", "workloads"))
SETTINGS = Settings(2, 3, 100, 1000, 5, 18090, "192.0.2.7", "roles/benchmark/files/app")
ADDRESS = "127.0.0.1:18091"


def plan(*chosen: str, own: list[dict[str, Any]] | None = None) -> Plan:
    return Plan({"sets": SETS, "loads": LOADS, "workloads": WORKLOADS}, list(chosen), own or [], SETTINGS)


def runs(made: Plan) -> list[dict[str, Any]]:
    return [load["run"] for group in made.groups() for load in group["loads"]]


class TestThePlan:
    def test_every_subject_has_its_turn_in_a_round_before_the_next_begins(self) -> None:
        rounds = [run["round"] for run in runs(plan("limits", "servers"))]
        assert rounds == sorted(rounds)
        first, second = (
            [run for run in runs(plan("limits", "servers")) if run["round"] == number] for number in (1, 2)
        )
        assert [{**run, "round": 2} for run in first] == second

    def test_all_sets_but_php_are_measured_unless_told_otherwise(self) -> None:
        spec = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
        assert spec["benchmark_sets"]["choices"] == list(SETS) or set(spec["benchmark_sets"]["choices"]) == set(SETS)
        assert set(SETS) - set(spec["benchmark_sets"]["default"]) == {"php"}

    def test_every_kind_of_server_and_every_worker_class_is_measured_through_a_socket_and_a_port(self) -> None:
        options = role_options("wsgi")["wsgi_apps"]["options"]["server"]["options"]
        apps = plan("servers").apps()
        for port in (False, True):
            servers = [app["server"] for app in apps if ("port" in app["server"]) == port]
            assert {server.get("kind", "gunicorn") for server in servers} == set(options["kind"]["choices"])
            classes = {server.get("worker_class", "gthread") for server in servers}
            assert classes == set(options["worker_class"]["choices"]) - {""}

    def test_a_server_without_a_subject_is_measured_with_its_defaults(self) -> None:
        removed = ("gunicorn-asgi", "waitress")
        kept = [one for one in SETS["servers"]["subjects"] if one["name"] not in removed]
        sets = {**SETS, "servers": {**SETS["servers"], "subjects": kept}}
        some = Plan({"sets": sets, "loads": LOADS, "workloads": WORKLOADS}, ["servers"], [], SETTINGS)
        made = {one["name"]: one for one in some.subjects}
        assert {name: (made[name]["interface"], made[name]["server"]) for name in removed} == {
            "gunicorn-asgi": ("asgi", {"kind": "gunicorn", "worker_class": "asgi"}),
            "waitress": ("wsgi", {"kind": "waitress"}),
        }

    def test_no_two_apps_share_a_port_or_a_name_and_every_name_is_short_enough(self) -> None:
        apps = plan(*SETS).apps()
        ports = [app["server"]["port"] for app in apps if "port" in app["server"]]
        assert len({port + more for port in ports for more in (0, 1)}) == 2 * len(ports)
        assert min(ports) > SETTINGS.port + 1
        names = [app["name"] for app in apps]
        assert len(set(names)) == len(names)
        assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_-]{0,26}", name)] == []

    def test_a_server_that_nginx_is_not_in_front_of_is_asked_by_the_host_itself(self) -> None:
        for group in plan(*SETS).groups():
            for load in group["loads"]:
                sent, run = load["send"], load["run"]
                if run["access"] != "direct":
                    assert sent["address"].startswith("192.0.2.7:")
                    assert not sent["local"]
                elif run["subject"] != "nginx-return":
                    assert sent["address"][:10] in ("", "127.0.0.1:")
                    assert sent["local"]

    def test_what_is_in_front_of_a_server_is_asked_first_by_the_host_itself(self) -> None:
        fronts = {(group["loads"][0]["run"]["access"], group["start"]["front"]) for group in plan(*SETS).groups()}
        assert fronts == {
            *(("direct", ""), ("tcp", "127.0.0.1:18090"), ("unix", "127.0.0.1:18090")),
            *(("tcp", "127.0.0.1:18091"), ("unix", "127.0.0.1:18091")),
        }

    def test_what_grows_has_three_points_and_more(self) -> None:
        points: dict[str, set[int]] = {}
        for one in plan(*SETS).info():
            for family, x in (one["families"] or {}).items():
                assert x not in points.setdefault(family, set())
                points[family].add(x)
        assert len(points) > 5
        assert [family for family, found in points.items() if len(found) < 3] == []

    def test_there_is_one_reference_and_one_default(self) -> None:
        described = plan(*SETS).info()
        assert [one["name"] for one in described if one["reference"]] == ["baseline000-gunicorn"]
        assert [one["server"] for one in described if one["default"]] == [{}]

    def test_what_a_guide_claims_is_measured(self) -> None:
        keys = ("subject", "access", "tool", "workload", "connections")
        measured = {tuple(run[key] for key in keys) for run in runs(plan(*SETS))}
        made = document({**GIVEN, "subjects": plan(*SETS).info()}, [])
        assert made["claims_not_chosen"] == []
        for claim in made["claims"]:
            assert tuple(claim[key] for key in keys) in measured

    def test_subjects_of_ones_own_are_measured_as_those_of_the_role(self) -> None:
        own = plan(own=[{"name": "mine", "title": "Mine", "server": {"threads": 9}, "accesses": ["unix"]}])
        assert [app["server"] for app in own.apps() if app["name"] == "bm-mine"] == [{"threads": 9}]
        workloads = {run["workload"] for run in runs(own) if run["subject"] == "mine"}
        assert workloads == {"hello", "io", "constant", "large"}

    def test_what_is_asked_for_twice_is_measured_once(self) -> None:
        made = Plan(
            {"sets": SETS, "loads": LOADS, "workloads": WORKLOADS}, ["servers"], [], Settings(1, 1, 64, 1, 1, 1, "", "")
        )
        keys = [tuple(run.values()) for run in runs(made)]
        assert len(set(keys)) == len(keys)

    def test_what_all_are_compared_with_is_measured_whatever_is_chosen(self) -> None:
        assert {run["subject"] for run in runs(plan("limits"))} > {"default", "baseline000-gunicorn"}

    @pytest.mark.parametrize(
        ("chosen", "own", "sentence"),
        [
            (["server"], [], "benchmark_sets names server; there are limits"),
            (["servers"], [{"name": "granian", "title": "x"}], "has granian twice"),
            ([], [], "Nothing is to be measured"),
            ([], [{"title": "x"}], "Number 1 of benchmark_subjects has no name"),
            ([], [{"name": "x", "accesses": "unix, socket"}], "accesses of x in benchmark_subjects is unix, socket;"),
            ([], [{"name": "x", "accesses": []}], "accesses of x in benchmark_subjects is nothing;"),
        ],
    )
    def test_what_cannot_be_planned_is_refused(self, chosen: list[str], own: list[dict], sentence: str) -> None:
        with pytest.raises(PlanError, match=sentence):
            plan(*chosen, own=own)

    @pytest.mark.parametrize("given", ["x", "-1", 0, "", 1.5])
    def test_a_number_that_is_none_is_refused_by_its_name(self, given: Any) -> None:
        with pytest.raises(PlanError, match=f"benchmark_seconds is {given!r}; it has to be a whole number"):
            Settings(2, given, 100, 1000, 5, 18090, "", "")

    def test_what_is_given_on_the_command_line_is_text(self) -> None:
        settings = Settings("2", "3", "100", "1000", "5", "18090", SETTINGS.address, SETTINGS.source)
        assert settings == SETTINGS
        tables = {"sets": SETS, "loads": LOADS, "workloads": WORKLOADS}
        numbers = {name: str(getattr(SETTINGS, name)) for name in Settings.NUMBERS}
        found = benchmark_plan(
            tables, " limits, nginx,", [{"name": "x", "accesses": "tcp, unix"}], address="", source="", **numbers
        )
        assert found["sets"] == ["limits", "nginx"]
        assert {app["name"] for app in found["apps"]} >= {"bm-x", "bm-x-tcp"}
        assert found["settings"] == {name: int(number) for name, number in numbers.items()}

    def test_every_file_that_a_subject_names_is_there(self) -> None:
        named = {name for subject in plan(*SETS).info() for name in subject["file_names"]}
        written = {path.name for path in (ROLE / "files" / "baselines").iterdir()}
        assert named <= {*written, *TABLES["__benchmark_configurations"]}


HOST = {
    "name": "web1",
    "facts": {
        **{"distribution": "Debian", "distribution_version": "13.1", "kernel": "6.12", "processor_nproc": 2},
        **{"memtotal_mb": 2000, "architecture": "x86_64", "processor": ["0", "Maker", "Model"], "fqdn": "web1.secret"},
    },
}
CLAIMS = TABLES["__benchmark_claims"]
FILES = {name: "text" for subject in plan(*SETS).info() for name in subject["file_names"]}
GIVEN = {
    **{"target": HOST, "client": HOST, "claims": CLAIMS, "files": FILES},
    "apps": {"bm-default": {"command": "python -m gunicorn", "packages": {"gunicorn": "27.0.1"}}},
    "servers": {"bm-default": {"kind": "gunicorn", "worker_class": "gthread", "workers": 2, "threads": 32}},
}


def test_the_document_has_what_was_measured_and_of_the_hosts_nothing_that_names_them_to_others() -> None:
    subjects = plan("baselines").info()
    lines = [{"run": {"rate": 1}}, {"missing": {"subject": "baseline002-uwsgi", "why": "no wheel"}}]
    made = document({**GIVEN, "subjects": subjects}, lines)
    assert (made["runs"], made["missing"]) == ([{"rate": 1}], [{"subject": "baseline002-uwsgi", "why": "no wheel"}])
    assert made["target"]["platform"] == "Debian 13.1"
    assert made["target"]["model"] == "Model"
    assert "web1.secret" not in json.dumps(made)
    (reference,) = [subject for subject in made["subjects"] if subject["reference"]]
    assert reference["files"] == {"gunicorn.py": "text", "tutorial.conf": "text"}
    assert reference["resolved"] is None
    (default,) = [subject for subject in made["subjects"] if subject["default"]]
    assert default["resolved"] == {
        **{"kind": "gunicorn", "worker_class": "gthread", "workers": 2, "threads": 32},
        **{"version": "27.0.1", "command": "python -m gunicorn"},
    }
    assert made["claims_not_chosen"] == [{"tutorial": "002", "what": "PHP behind nginx"}]


AB = """
Complete requests:      1000
Failed requests:        3
   (Connect: 0, Receive: 0, Length: 3, Exceptions: 0)
Non-2xx responses:      7
Total transferred:      175000 bytes
Time taken for tests:   1.317 seconds
Requests per second:    759.38 [#/sec] (mean)

Percentage of the requests served within a certain time (ms)
  50%     12
  95%     20
  99%     31
 100%     40 (longest request)
"""

SIEGE = """
{	"transactions":			        1275,
	"availability":			       99.61,
	"elapsed_time":			        1.50,
	"data_transferred":		        0.01,
	"response_time":		        0.21,
	"transaction_rate":		      850.00,
	"throughput":			        0.01,
	"concurrency":			      178.50,
	"successful_transactions":	        1275,
	"failed_transactions":		           5,
	"longest_transaction":		        1.20,
	"shortest_transaction":		        0.00
}
"""


@contextmanager
def serving(answer: Callable[[http.server.BaseHTTPRequestHandler], int]) -> Iterator[str]:
    """Answer each GET with the status that ``answer`` returns; give its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer(self))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


class TestTheTools:
    def test_ab_says_what_failed_beside_the_rate(self) -> None:
        said = read_ab(AB)
        assert (said["requests"], said["rate"], said["seconds"], said["bytes"]) == (1000, 759.38, 1.317, 175000)
        assert said["latency_ms"] == {"p50": 12, "p95": 20, "p99": 31, "max": 40}
        assert (said["errors"]["read"], said["errors"]["status"]) == (3, 7)

    def test_siege_gives_no_percentiles(self) -> None:
        said = read_siege(SIEGE)
        assert (said["requests"], said["rate"], said["errors"]["failed"]) == (1275, 850.0, 5)
        assert said["latency_ms"] == {"p50": None, "p95": None, "p99": None, "max": 1200.0}

    def test_connections_that_wrk_got_no_answer_on_have_timed_out(self) -> None:
        said = {"microseconds": 2_000_000, "bytes": 0, "connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}
        said |= {"p50": 0, "p95": 0, "p99": 0, "max": 0}
        none = read_wrk(f"Running\n{json.dumps(said | {'requests': 0})}\n", 100)
        assert (none["errors"]["timeout"], none["rate"], none["latency_ms"]["p99"]) == (100, 0, None)
        some = read_wrk(json.dumps(said | {"requests": 1, "p99": 1500}), 100)
        assert (some["errors"]["timeout"], some["rate"], some["latency_ms"]["p99"]) == (0, 0.5, 1.5)

    @pytest.mark.parametrize("read", [read_ab, read_siege, lambda output: read_wrk(output, 100)])
    def test_no_report_is_an_error_with_what_was_said(self, read: Any) -> None:
        with pytest.raises(LoadError, match="apr_socket_recv: Connection refused"):
            read("apr_socket_recv: Connection refused (111)")

    @pytest.fixture
    def address(self) -> Iterator[str]:
        with serving(lambda request: 200 if request.path == "/good" else 500) as address:
            yield address

    @pytest.mark.parametrize(("path", "bad"), [("good", 0), ("bad", 4)])
    def test_a_pool_counts_answers_other_than_2xx(self, address: str, path: str, bad: int) -> None:
        load = {"tool": "pool", "url": f"http://{address}/{path}", "host": "localhost", "connections": 4}
        said = send(load, lambda *_: pytest.fail("a pool runs no command"))
        assert (said["requests"], said["bytes"], said["errors"]["status"]) == (4, 8, bad)
        assert said["seconds"] > 0

    def test_a_tool_that_fails_is_quoted(self) -> None:
        load = {"tool": "ab", "url": "http://127.0.0.1:9/", "host": "localhost", "connections": 1, "requests": 1}
        with pytest.raises(LoadError, match=r"^ab .* ended with 127: not found"):
            send(load, lambda _command, _environment: (127, "", "not found"))


def test_the_use_of_a_process_is_that_of_its_children_too(tmp_path: Path) -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]]); input()"
    work = "import time; end = time.process_time() + .3\nwhile time.process_time() < end: pass"
    with subprocess.Popen(
        ["python3", "-c", f"{script[:-7]}print(flush=True); input()", work],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert 0.3 <= benchmark_subject.cpu_seconds([process.pid]) < 3
        assert benchmark_subject.memory_bytes([process.pid]) > 1_000_000
        process.communicate(b"\n")
    assert benchmark_subject.cpu_seconds([process.pid]) == 0


class TestASubject:
    @pytest.fixture(autouse=True)
    def _without_supervisord(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Units of systemd and their proxies need none."""
        monkeypatch.setattr(benchmark_subject, "Supervisor", object)

    @pytest.fixture
    def address(self) -> Iterator[str]:
        """A server that is busy with the first requests, as after a load that has ended."""
        began: list[float] = []

        def answer(request: http.server.BaseHTTPRequestHandler) -> int:
            began.append(time.monotonic())
            time.sleep(0.2 if began[-1] - began[0] < 1 else 0)
            return 200 if request.headers["Host"] == "benchmark.invalid" else 404

        with serving(answer) as address:
            yield address

    @staticmethod
    def subject(address: str, host: str = "benchmark.invalid", **more: Any) -> benchmark_subject.Subject:
        params = {"app": None, "units": [], "address": address, "front": "", "protocol": "http", "host": host, **more}
        return benchmark_subject.Subject(SimpleNamespace(params=params))

    def test_the_next_load_waits_until_nothing_is_left_of_the_last(self, address: str) -> None:
        started = time.monotonic()
        self.subject(address)._settle()
        assert time.monotonic() - started > 0.9

    def test_a_server_that_fails_after_a_load_is_not_measured_and_a_slow_one_is(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(benchmark_subject, "TIMEOUT", 0.2)
        self.subject(address)._settle()
        with pytest.raises(benchmark_subject.SubjectError, match=r"0.2 s after the load: .* answers 404"):
            self.subject(address, "other")._settle()

    @pytest.mark.parametrize("now", [{"server": [7], "proxy": [9]}, {"server": [7], "proxy": [0]}])
    def test_what_ended_meanwhile_has_no_figures(
        self, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: dict[str, list[int]]
    ) -> None:
        monkeypatch.setattr(benchmark_subject, "SNAPSHOT", str(tmp_path / "snapshot"))
        subject = self.subject(address)
        for roots in ({"server": [7], "proxy": [now["proxy"][0] and 8]}, now):
            monkeypatch.setattr(subject, "roots", lambda found=roots: found)
            if roots is not now:
                subject._note()
        with pytest.raises(benchmark_subject.SubjectError, match="it has ended, or was started again"):
            subject.measure()

    def test_what_stands_in_front_has_to_answer_before_anything_is_measured(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(benchmark_subject, "TIMEOUT", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as free:
            front = f"127.0.0.1:{free.getsockname()[1]}"
        subject = self.subject(address, front=front)
        monkeypatch.setattr(subject, "roots", lambda: {"server": [1], "proxy": []})
        with pytest.raises(benchmark_subject.SubjectError, match=f"{front} gives no answer"):
            subject.start()


def test_the_role_refuses_to_run_outside_of_its_playbook(tmp_path: Path) -> None:
    play = [{"hosts": "localhost", "gather_facts": False, "roles": ["baremetal.web.benchmark"]}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    with pytest.raises(AssertionError, match=r"runs in the playbook baremetal\.web\.benchmark only"):
        run_ansible(tmp_path, "playbook", "play.yml")


def test_nothing_that_only_the_benchmark_uses_stands_in_plugins() -> None:
    assert [path for path in (ROOT / "plugins").rglob("*benchmark*") if path.suffix != ".pyc"] == []
