"""Every hook runs exactly where and as often as documented: the steps of the role that wait for all hosts, for real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.baremetal.web.plugins.filter.held_apps import held_apps
from ansible_collections.baremetal.web.plugins.filter.hook_rounds import hook_rounds
from ansible_collections.baremetal.web.plugins.filter.refused_apps import refused_apps
from ansible_collections.baremetal.web.plugins.filter.reverted_apps import reverted_apps
from ansible_collections.baremetal.web.plugins.filter.unfinished_apps import unfinished_apps
from ansible_collections.baremetal.web.plugins.module_utils._release.hooks import (
    ACTIVATE,
    AFTER_SWITCH,
    BEFORE_SWITCH,
    BUILD,
    KINDS,
    MOMENTS,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options
from conftest import NO_HOOKS, OWNER, ROOT, A, B, hook

HOSTS = ("web1", "web2", "web3")
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact: {wsgi_failed: {}, wsgi_held: {}}
    - {ansible.builtin.include_role: {name: baremetal.web.wsgi, tasks_from: migrate}}
    - {ansible.builtin.include_role: {name: baremetal.web.wsgi, tasks_from: finish}}
    - ansible.builtin.copy: {content: "{{ facts | to_json }}", dest: "{{ wsgi_root }}/facts", mode: "0600"}
      vars: {facts: {staged: "{{ wsgi_staged }}", failed: "{{ wsgi_failed }}", held: "{{ wsgi_held }}"}}
"""


class Run:
    """A run over three hosts, all of them this machine, each with a directory of its own."""

    def __init__(self, place: Path):
        self.place = place
        self.log = place / "log"
        self.hosts: dict[str, dict[str, Any]] = {}
        # The collection as it is, but for the place of supervisord's configuration, which is of this machine.
        self.collection = place / "collections" / "ansible_collections" / "baremetal" / "web"
        for part in ("plugins", "roles", "meta"):
            shutil.copytree(ROOT / part, self.collection / part)
        shutil.copy(ROOT / "galaxy.yml", self.collection)
        source = self.collection / "plugins" / "module_utils" / "_host" / "supervisor.py"
        config = place / "supervisord.conf"
        sections = {"supervisord": "childlogdir", "unix_http_server": "file", "include": "files"}
        config.write_text("".join(f"[{name}]\n{key} = {place}/s\n" for name, key in sections.items()))
        text = source.read_text()
        line = next(line for line in text.splitlines() if line.startswith("CONFIG = "))
        source.write_text(text.replace(line, f'CONFIG = "{config}"'))

    def lay(self, host: str, app: str, hooks: dict[str, list], current: str = "", release: str = A) -> None:
        """Put a staged release of an app onto a host."""
        home = self.place / host / app
        (home / "releases" / release / "app").mkdir(parents=True)
        (home / "releases" / release / "environment").write_text(f"export APP_RELEASE={release}\n")
        manifest = {"run": "this", "description": {"user": OWNER, "hooks": hooks, "endpoint": {"port": 0}}}
        (home / "releases" / release / "release.json").write_text(json.dumps(manifest))
        told = {kind: sorted({hook["run_once"] for hook in hooks}) for kind, hooks in hooks.items()}
        staged = {"current": current, "release": release, "converged": current == release, "hooks": told}
        values = self.hosts.setdefault(host, {"wsgi_root": str(self.place / host), "wsgi_staged": {}})
        values["wsgi_staged"][app] = staged

    def all_hooks(self, host: str, app: str, **commands: str) -> dict[str, list]:
        """Return a hook of each kind for each host and one for the whole fleet, which write down that they ran."""
        return {
            kind: [
                hook(f"echo {host} {app} {name} >> {self.log}; {commands.get(name, 'true')}", name, run_once=run_once)
                for run_once in (False, True)
                for name in [f"{kind}_{'once' if run_once else 'each'}"]
            ]
            for kind in KINDS
        }

    def go(self) -> list[str]:
        """Run the steps; return what ran, in order."""
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        hosts = {"all": {"hosts": {name: {**local, **values} for name, values in self.hosts.items()}}}
        (self.place / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (self.place / "play.yml").write_text(PLAY)
        path = f"{self.place}/collections:{os.environ.get('ANSIBLE_COLLECTIONS_PATH', '')}"
        done = subprocess.run(
            # One after the other: on one machine, hooks of one app at the same time would end each other.
            ["ansible-playbook", "--forks=1", "-i", str(self.place / "hosts.yml"), str(self.place / "play.yml")],
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": path},
            cwd=self.place,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return self.log.read_text().splitlines() if self.log.exists() else []

    def facts(self, host: str) -> dict[str, Any]:
        return json.loads((self.place / host / "facts").read_text())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_every_kind_of_the_spec_has_a_step_that_runs_it_for_each_host_and_for_the_fleet() -> None:
    kinds = role_options("wsgi")["wsgi_apps"]["options"]["hooks"]["options"]
    wanted = sorted((kind, run_once) for kind in kinds for run_once in (False, True))
    assert sorted(moment[:2] for moment in MOMENTS) == wanted
    assert {moment.step for moment in MOMENTS} == {BUILD, BEFORE_SWITCH, ACTIVATE, AFTER_SWITCH}


def test_each_hook_of_the_run_runs_where_and_as_often_as_documented_in_its_order(run: Run) -> None:
    for host in HOSTS:
        run.lay(host, "shop", run.all_hooks(host, "shop"))
    ran = run.go()
    assert ran[:2] == ["web1 shop after_stage_once", "web1 shop migrate_once"]
    assert sorted(ran[2:5]) == [f"{host} shop migrate_each" for host in HOSTS]
    assert ran[5:] == ["web1 shop before_activate_once", "web1 shop after_activate_once"]


def test_a_host_on_which_the_release_is_live_runs_none_and_a_first_release_is_like_a_later_one(run: Run) -> None:
    for host, current in (("web1", A), ("web2", ""), ("web3", B)):
        run.lay(host, "shop", run.all_hooks(host, "shop"), current)
    ran = run.go()
    assert [line for line in ran if "once" in line] == [
        f"web2 shop {kind}_once" for kind in ("after_stage", "migrate", "before_activate", "after_activate")
    ]
    assert sorted(line for line in ran if "each" in line) == ["web2 shop migrate_each", "web3 shop migrate_each"]


@pytest.mark.parametrize(("failing", "last"), [("migrate_once", "migrate_once"), ("migrate_each", "migrate_each")])
def test_an_app_whose_hook_fails_stays_back_on_every_host_and_another_one_goes_on(
    run: Run, failing: str, last: str
) -> None:
    culprit = "web1" if failing.endswith("once") else "web2"
    for host in HOSTS:
        run.lay(host, "shop", run.all_hooks(host, "shop", **({failing: "false"} if host == culprit else {})))
        run.lay(host, "blog", run.all_hooks(host, "blog"))
    ran = run.go()
    assert [line for line in ran if "shop" in line][-1].endswith(last)
    assert not any("shop before_activate" in line or "shop after_activate" in line for line in ran)
    assert "web1 blog before_activate_once" in ran
    assert "web1 blog after_activate_once" in ran
    for host in HOSTS:
        facts = run.facts(host)
        assert list(facts["staged"]) == ["blog"]
        cause = f"It failed on {culprit}. Correct the cause there, then run it again."
        assert facts["held"] == {"shop": f"app shop: its release does not go live. {cause}"}
        assert list(facts["failed"]) == (["shop"] if host == culprit else [])
    assert f"The hook {failing}" in run.facts(culprit)["failed"]["shop"]


def test_a_migration_of_a_host_that_cannot_be_undone_is_known_there_even_when_a_later_hook_fails(run: Run) -> None:
    migrations = [hook("true", "drop", irreversible_enabled=True), hook("false", "fill")]
    run.lay("web1", "shop", {**NO_HOOKS, "migrate": migrations})
    run.go()
    (line,) = (json.loads(line) for line in (run.place / "web1/shop/releases.log").read_text().splitlines())
    assert (line["action"], line["hooks"], line["irreversible"]) == ("hooks", ["drop"], ["drop"])


def answers(**hosts: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of hosts; each has the hooks of its app by kind."""
    return {
        host: {
            "wsgi_staged": {
                app: {
                    "current": "",
                    "release": A,
                    "converged": False,
                    "hooks": {**{kind: [] for kind in KINDS}, **hooks},
                }
                for app, hooks in apps.items()
            }
        }
        for host, apps in hosts.items()
    }


def test_a_hook_for_the_fleet_runs_on_the_first_host_that_has_it() -> None:
    hosts = answers(web1={"shop": {}}, web2={"shop": {"migrate": [True]}}, web3={"shop": {"migrate": [True]}})
    (one,) = hook_rounds(list(hosts), hosts, BEFORE_SWITCH)
    assert one == {"kind": "migrate", "run_once": True, "hosts": {"shop": ["web2"]}}


def test_an_app_stays_back_when_the_host_that_runs_its_hooks_for_all_is_gone() -> None:
    hosts = answers(web1={"shop": {"migrate": [True]}, "blog": {"migrate": [False]}}, web2={"shop": {}, "blog": {}})
    held = held_apps(list(hosts), hosts, ["web2"])
    assert held == {
        "shop": "app shop: its release does not go live. web1, which runs its hooks for the whole fleet, is gone. "
        "Run it again when that host is back."
    }


def test_every_host_that_has_switched_goes_back_when_the_last_hook_fails_on_one() -> None:
    hosts = answers(web1={"shop": {}, "blog": {}}, web2={"shop": {}}, web3={"shop": {}}, web4={})
    hosts["web2"]["wsgi_failed"] = {"shop": "its hook failed"}
    hosts["web3"]["wsgi_staged"]["shop"].update(current=A, converged=True)
    reason = {"shop": "its hook after_activate for the whole fleet failed on web2"}
    found = {host: unfinished_apps(list(hosts), hosts, host) for host in hosts}
    assert found == {"web1": reason, "web2": reason, "web3": {}, "web4": {}}


def test_an_app_that_failed_before_its_last_hook_is_rolled_back_nowhere_else() -> None:
    hosts = answers(web1={"shop": {}}, web2={})
    hosts["web2"]["wsgi_failed"] = {"shop": "it is not healthy"}
    assert unfinished_apps(list(hosts), hosts, "web1") == {}


def test_each_host_says_which_release_is_live_after_the_last_hook_failed() -> None:
    reasons = dict.fromkeys(("shop", "blog", "wiki"), "its hook failed on web1")
    results = [
        {"item": "shop", "failed": False, "release": A},
        {"item": "blog", "failed": False, "release": ""},
        {"item": "wiki", "failed": True, "msg": "no files"},
    ]
    known = {"shop": f"app shop: the hook said woe\nThe live release is {B}."}
    assert reverted_apps({"results": results}, known, reasons) == {
        "shop": "app shop: the hook said woe\n"
        f"app shop was rolled back, because its hook failed on web1. The live release is {A}.",
        "blog": "app blog was rolled back, because its hook failed on web1. No release is live.",
        "wiki": "app wiki is to be rolled back, because its hook failed on web1. The rollback failed: no files",
    }


SITES = [
    {"name": "80-shop", "locations": [{"name": "wsgi-shop"}, {"name": "wsgi-blog"}, {"name": "wsgi-shop.bind"}]},
    {"name": "81-wiki", "locations": [{"name": "wsgi-wiki"}]},
]


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        (
            {"results": [{"item": {"name": "81-wiki"}, "failed": True, "msg": "no"}, {"item": {"name": "80-shop"}}]},
            {"wiki": "app wiki: publish: no"},
        ),
        (
            {"results": [{"item": {"name": site["name"]}, "failed": True, "msg": "no"} for site in SITES]},
            dict.fromkeys(("shop", "blog", "wiki"), "apps shop, blog, wiki: publish: no"),
        ),
        ({"msg": "no"}, dict.fromkeys(("shop", "blog", "wiki"), "apps shop, blog, wiki: publish: no")),
    ],
    ids=["one site", "every site", "all at once"],
)
def test_a_site_that_is_refused_is_told_of_its_apps_alone(failed: dict[str, Any], said: dict[str, str]) -> None:
    assert refused_apps(failed, sites=SITES) == said


def test_an_app_that_the_web_server_cannot_be_told_of_is_the_item_itself() -> None:
    failed = {"results": [{"item": "shop", "failed": True, "msg": "the disk is full"}, {"item": "blog"}]}
    assert refused_apps(failed, ["shop", "blog"]) == {"shop": "app shop: publish: the disk is full"}
