"""What ansible-core wraps values in (vault, unsafe, templates) changes nothing: asked of the real ansible-playbook."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, run_ansible

SECRET = "hunter2 '{{ n }}' $HOME"
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    n: 3
    flag: true
    half: 0.5
    secret: VAULTED_SECRET
    wsgi_apps:
      - name: "{{ 'sh' ~ 'op' }}"
        source: {path: SOURCE}
        entrypoint: !unsafe "echo:wsgi"
        python: {requirements: "{{ '' }}"}
        server: {threads: "{{ n }}", workers: "{{ n * 2 }}", preload_enabled: "{{ flag }}"}
        site: {server_names: "{{ ['a.example', 'B.example'] }}", prefix: "{{ omitted | default('/') }}"}
        health:
          path: VAULTED_PATH
          timeout: "{{ n }}"
        environment:
          DIRECT: VAULTED_SECRET
          INDIRECT: "{{ secret }}"
          WITHIN: "a{{ secret }}b"
          NUMBER: "{{ n }}"
          HALF: "{{ half }}"
          UNSAFE: !unsafe "{{ n }}"
        shared: {files: "{{ ['one.db'] + ['two.db'] }}"}
        programs: [{name: "w{{ n }}", command: "run {{ n }}", number: "{{ n }}"}]
        hooks: {migrate: "{{ [{'name': 'm', 'command': 'run', 'timeout': n}] }}"}
  tasks:
    - name: Check as on the controller
      ansible.builtin.set_fact:
        checked: "{{ wsgi_apps | baremetal.web.check_apps(inventory_dir, names=['web1']) }}"
    - name: Resolve as for a host
      ansible.builtin.set_fact:
        resolved: >-
          {{ wsgi_apps | baremetal.web.resolve_apps(inventory_dir, names=['web1'], cpus=2, memory=4096,
          machine='x86_64', python='3.13') if checked.problems == [] else {} }}
    - name: Resolve what is checked, and what is resolved
      ansible.builtin.set_fact:
        again: >-
          {{ wsgi_apps | baremetal.web.resolve_apps(inventory_dir, names=['web1'], cpus=2, memory=4096,
          machine='x86_64', python='3.13', **item) if checked.problems == [] else {} }}
      loop: "{{ [{'checked': checked}, {'earlier': resolved}] }}"
      register: kept
    - name: Show
      ansible.builtin.debug:
        msg: >-
          {{ {'problems': checked.problems, 'resolved': resolved,
          'kept': kept.results | map(attribute='ansible_facts.again')} | to_json | b64encode }}
"""


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    path = tmp_path / "vault-password"
    path.write_text("the vault's password\n")
    return path


def encrypted(tmp_path: Path, vault: Path, text: str) -> str:
    """Return an inline value of a vault, as ansible-vault prints it, indented for any place of the play."""
    said = run_ansible(tmp_path, "vault", "encrypt_string", "--vault-password-file", str(vault), "--name", "x", text)
    return said.split("x: ", 1)[1].strip().replace("\n", f"\n{' ' * 12}")


def played(tmp_path: Path, vault: Path, path: str = "/healthz") -> dict[str, Any]:
    """Return what a play finds and resolves."""
    places = {"SOURCE": str(ROOT / "molecule" / "echo")}
    places |= {"VAULTED_SECRET": encrypted(tmp_path, vault, SECRET), "VAULTED_PATH": encrypted(tmp_path, vault, path)}
    text = PLAY
    for name, value in places.items():
        text = text.replace(name, value)
    (tmp_path / "play.yml").write_text(text)
    said = run_ansible(tmp_path, "playbook", "-i", "localhost,", "play.yml", "--vault-password-file", str(vault))
    return json.loads(base64.b64decode(said.rpartition('"msg": "')[2].partition('"')[0]))


def test_a_wrapped_value_is_taken_for_what_it_is(tmp_path: Path, vault: Path) -> None:
    found = played(tmp_path, vault)
    assert found["problems"] == []
    (app,) = found["resolved"]["apps"]
    assert found["kept"] == [found["resolved"]] * 2
    own = ("DIRECT", "INDIRECT", "WITHIN", "NUMBER", "HALF", "UNSAFE")
    assert {name: app["program"]["environment"][name] for name in own} == {
        **{"DIRECT": SECRET, "INDIRECT": SECRET, "WITHIN": f"a{SECRET}b", "NUMBER": "3", "HALF": "0.5"},
        "UNSAFE": "{{ n }}",
    }
    assert (app["name"], app["entrypoint"], app["health"]["path"]) == ("shop", "echo:wsgi", "/healthz")
    assert (app["server"]["threads"], app["server"]["workers"], app["server"]["preload_enabled"]) == (3, 6, True)
    assert app["site"]["server_names"] == ["a.example", "b.example"]
    assert app["shared"]["files"] == ["one.db", "two.db"]
    assert [(each["name"], each["command"], each["number"]) for each in app["programs"]] == [("w3", "run 3", 3)]
    assert app["hooks"]["migrate"][0]["timeout"] == 3


def test_a_value_of_a_vault_is_in_no_message(tmp_path: Path, vault: Path) -> None:
    (problem,) = played(tmp_path, vault, path="no path 'hunter3'")["problems"]
    assert "health.path is " in problem
    assert "(from a vault)" in problem
    assert "hunter" not in problem


ENTRY = """
all:
  hosts:
    web1: {ansible_connection: local}
  vars:
    wsgi_apps:
      - name: shop
        source: {path: SOURCE}
        entrypoint: echo:wsgi
        server: {workers: "{{ ansible_facts['processor_vcpus'] }}"}
        environment: {URL: "postgres://me:hunter2@{{ db_hots }}/shop", FINE: "{{ 1 + 1 }}"}
"""
CHECK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_tasks: TASKS
"""


def test_a_fact_in_an_entry_is_refused_with_what_to_write(tmp_path: Path) -> None:
    """The entry is read before facts are there; each ansible-core says that in words of its own."""
    (tmp_path / "hosts.yml").write_text(ENTRY.replace("SOURCE", str(ROOT / "molecule" / "echo")))
    (tmp_path / "play.yml").write_text(CHECK.replace("TASKS", str(ROOT / "playbooks" / "tasks" / "check_apps.yml")))
    with pytest.raises(AssertionError) as failed:
        run_ansible(tmp_path, "playbook", "-i", "hosts.yml", "play.yml")
    said = " ".join(str(failed.value).split())
    assert "The description of the apps of web1 cannot be worked out" in said
    assert "no attribute 'processor_vcpus'" in said.replace("''", "'").replace("\\'", "'")
    assert "such as server.workers: auto" in said
    assert "wsgi_apps[shop].server.workers has {{ ansible_facts[" in said
    assert "wsgi_apps[shop].environment.URL has {{ db_hots }} (" in said
    assert "environment.FINE" not in said
    assert "hunter2" not in said.partition("cannot be worked out")[2]


FLOW = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_tasks: TASKS/check_apps.yml
    - ansible.builtin.file: {path: "{{ inventory_dir }}/code", state: absent}
    - ansible.builtin.include_role: {name: baremetal.web.wsgi, tasks_from: resolve, rolespec_validate: false}
    - ansible.builtin.set_fact: {first: "{{ __wsgi_resolved.apps | length }}", cacheable: true}
    - ansible.builtin.set_fact: {__wsgi_checked: {}}
    - ansible.builtin.include_role: {name: baremetal.web.wsgi, tasks_from: resolve, rolespec_validate: false}
    - ansible.builtin.debug: {msg: "resolved {{ first }} and {{ __wsgi_resolved.apps | length }}"}
    - ansible.builtin.set_fact: {wsgi_apps: "{{ [wsgi_apps[0] | combine({'releases': {'keep': 9}})] }}"}
      no_log: true
    - ansible.builtin.include_role: {name: baremetal.web.wsgi, tasks_from: resolve, rolespec_validate: false}
  vars:
    ansible_facts:
      {os_family: Debian, distribution: Debian, distribution_version: "13", distribution_major_version: "13",
      processor_nproc: 2, memtotal_mb: 4096, architecture: x86_64}
"""


def test_a_description_is_examined_once_and_anew_when_it_changes_and_its_secrets_are_shown_nowhere(
    tmp_path: Path,
) -> None:
    """The code of the app goes away after the check, so who examines the entry once more cannot but refuse it."""
    shutil.copytree(ROOT / "molecule" / "echo", tmp_path / "code")
    app = {"name": "shop", "source": {"path": "code"}, "entrypoint": "echo:wsgi", "python": {"requirements": ""}}
    app |= {"environment": {"KEY": "hunter{{ 1 + 1 }}"}, "limits": {"open_files": 1000}}
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "wsgi_apps": [app]}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"web1": host}}}))
    (tmp_path / "play.yml").write_text(FLOW.replace("TASKS", str(ROOT / "playbooks" / "tasks")))
    (tmp_path / "ansible.cfg").write_text("[defaults]\nfact_caching = jsonfile\nfact_caching_connection = facts\n")
    with pytest.raises(AssertionError) as failed:
        run_ansible(tmp_path, "playbook", "-i", "hosts.yml", "play.yml", "-vvv")
    said = str(failed.value)
    assert "resolved 1 and 1" in said
    assert "the output has been hidden due to the fact that 'no_log: true'" in said
    assert '"msg": "app shop: source.path' in said.partition("resolved 1 and 1")[2]
    assert "hunter2" not in said
    cached = [path.read_text() for path in (tmp_path / "facts").iterdir()]
    assert cached
    assert "hunter2" not in "".join(cached)


RESOLVE = """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - ansible.builtin.include_role: {name: baremetal.web.wsgi, tasks_from: resolve, rolespec_validate: false}
  vars:
    ansible_facts:
      {os_family: Debian, distribution: Debian, distribution_version: "13", distribution_major_version: "13",
      processor_nproc: 2, memtotal_mb: 4096, architecture: x86_64}
"""


@pytest.mark.parametrize("steps", ["resolve", "check"])
@pytest.mark.parametrize("indirect", [False, True])
def test_an_undefined_value_is_told_without_the_secrets_beside_it_and_by_its_host_alone(
    tmp_path: Path, steps: str, indirect: bool
) -> None:
    """Up to ansible-core 2.18, the reason begins with the whole value."""
    app = {"name": "shop", "source": {"path": str(ROOT / "molecule" / "echo")}, "entrypoint": "echo:wsgi"}
    app |= {"environment": {"KEY": "hunter2", "URL": "postgres://me:hunter2@{{ db_hots }}/shop"}}
    apps = {"wsgi_apps": "{{ mine }}", "mine": [app]} if indirect else {"wsgi_apps": [app]}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": {"web1": apps, "web2": {"wsgi_apps": []}}, "vars": local}}
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
    check = CHECK.replace("TASKS", str(ROOT / "playbooks" / "tasks" / "check_apps.yml"))
    (tmp_path / "play.yml").write_text(RESOLVE if steps == "resolve" else check)
    with pytest.raises(AssertionError) as failed:
        run_ansible(tmp_path, "playbook", "-i", "hosts.yml", "play.yml", "-v")
    said = str(failed.value)
    assert "db_hots" in said
    assert "hunter2" not in said
    assert "ansible_failed_result" not in said
    assert "fatal: [web2]" not in said
