"""The limits of strangers, and of the apps themselves."""

import pytest
from testinfra.host import Host

from probes import App, nginx_user

CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


def as_user(user: str) -> str:
    """Return the start of a command line that runs as an unprivileged user."""
    return f"env --chdir=/ runuser -u {user} --"


def users(host: Host, app: App) -> list[str]:
    """Return an app's user, that of nginx, that of another app, and somebody."""
    return [f"wsgi-{app.name}", nginx_user(host), "wsgi-hello" if app.name == "second" else "wsgi-second", "ops"]


@pytest.mark.parametrize("path", ["/etc/supervisord/supervisord.conf", "/etc/supervisord/web-password"])
def test_only_root_reads_the_secrets_of_supervisord(host: Host, path: str) -> None:
    file = host.file(path)
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)


def test_only_root_reads_the_programs(host: Host, app: App) -> None:
    file = host.file(f"/etc/supervisord/conf.d/{app.program(host)}.conf")
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)
    assert host.run(f"{as_user(f'wsgi-{app.name}')} ls /etc/supervisord/conf.d").rc != 0


def test_only_the_app_reads_its_environment(host: Host, app: App) -> None:
    def reads(user: str) -> bool:
        return host.run(f"{as_user(user)} cat /srv/wsgi/{app.name}/current/environment").rc == 0

    assert [reads(user) for user in users(host, app)] == [True, False, False, False]


def test_the_configuration_of_supervisord_holds_no_plain_password(host: Host) -> None:
    configuration = host.file("/etc/supervisord/supervisord.conf").content_string
    assert "password = {SHA}" in configuration
    assert host.file("/etc/supervisord/web-password").content_string.strip() not in configuration


def test_only_nginx_and_sshd_listen_beyond_loopback(host: Host) -> None:
    listeners = [line.split() for line in host.check_output("ss -ltnpH").splitlines()]
    outside = {fields[5].split('"')[1] for fields in listeners if not fields[3].startswith(("127.", "[::1]"))}
    assert outside == {"nginx", "sshd"}


def test_an_app_runs_as_its_own_user(host: Host, app: App) -> None:
    master = app.master(host)
    processes = {master, *app.workers(host)}
    assert len(processes) >= 2
    owners = {host.check_output("ps -o user:32= -p %s", str(process)) for process in processes}
    assert owners == {f"wsgi-{app.name}"}


def test_an_app_cannot_change_its_release(host: Host, app: App) -> None:
    user, home = as_user(f"wsgi-{app.name}"), f"/srv/wsgi/{app.name}"
    assert host.check_output(f"{user} find {home}/releases -name release.json")
    assert host.check_output(f"{user} find {home}/releases ! -type l -writable") == ""
    assert host.run(f"{user} touch {home}/current/app/new").rc != 0
    assert host.run(f"{user} ln -sfn / {home}/current").rc != 0


def test_an_app_can_write_its_data(host: Host, app: App) -> None:
    user, file = as_user(f"wsgi-{app.name}"), f"/srv/wsgi/{app.name}/data/probe"
    host.check_output(f"{user} touch {file}")
    host.check_output(f"{user} rm {file}")


def test_only_the_app_and_nginx_connect_to_its_socket(host: Host, app: App) -> None:
    def connects(user: str) -> bool:
        return host.run(f"{as_user(user)} python3 -c %s %s", CONNECT, f"/srv/wsgi/{app.name}/current.sock").rc == 0

    assert [connects(user) for user in users(host, app)] == [True, True, False, False]


def test_the_configuration_of_nginx_raises_no_warning(host: Host) -> None:
    printed = host.run("nginx -t")
    assert printed.rc == 0
    assert [line.rpartition(" ")[2] for line in printed.stderr.splitlines()] == ["ok", "successful"]


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


def test_nobody_but_root_can_change_the_stack(host: Host) -> None:
    roots = "/etc/nginx /etc/supervisord /etc/profile.d /opt/baremetal /srv/wsgi /usr/local/share/nginx"
    # What an app has in the place of /tmp is open to all, behind a door that is root's.
    doors = "/srv/wsgi/*/private"
    assert host.check_output(f"find {roots} -path '{doors}' -prune -o ! -type l ! -type s -perm /o+w -print") == ""
    assert set(host.check_output(f"stat -c '%a %U %F' {doors}").splitlines()) == {"700 root directory"}
