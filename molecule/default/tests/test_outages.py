"""The hosts after a service or process has stopped or died."""

from testinfra.host import Host

from probes import APPS, SUPERVISORCTL, App, eventually, fetch


def test_clients_of_a_stopped_app_get_a_page_of_ours_until_it_starts(host: Host, neighbour: Host, hello: App) -> None:
    program = hello.program(host)
    host.check_output(f"{SUPERVISORCTL} stop %s", program)
    answer = fetch(neighbour, hello.url(host))
    others = [other.answers(host, neighbour) for other in APPS if other != hello]
    host.check_output(f"{SUPERVISORCTL} start %s", program)
    assert (answer.status, answer.headers["content-type"]) == (502, "text/html")
    assert "<h1>Back soon</h1>" in answer.text
    assert all(others)
    assert hello.answers(host, neighbour)


def test_a_killed_worker_is_replaced(host: Host, neighbour: Host, app: App) -> None:
    before = app.workers(host)
    victim = min(before)
    host.check_output("kill -9 %s", str(victim))
    eventually(lambda: len(after := app.workers(host)) == len(before) and victim not in after)
    assert app.answers(host, neighbour)


def test_a_killed_server_is_started_again(host: Host, neighbour: Host, app: App) -> None:
    victim = app.master(host)
    host.check_output("kill -9 %s", str(victim))
    eventually(lambda: app.answers(host, neighbour))
    assert app.master(host) not in (0, victim)


def test_a_killed_supervisord_comes_back_with_all_its_apps(host: Host, neighbour: Host) -> None:
    def supervisord() -> str:
        return host.check_output("systemctl show --property=MainPID --value supervisord-baremetal")

    victim = supervisord()
    host.check_output("kill -9 %s", victim)
    eventually(lambda: supervisord() not in ("0", victim))
    eventually(lambda: all(app.answers(host, neighbour) for app in APPS))
