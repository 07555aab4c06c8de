"""What ansible-core wraps values in (vault, unsafe, templates) changes nothing: asked of the real ansible-playbook."""

from __future__ import annotations

import base64
import json
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
        problems: "{{ wsgi_apps | baremetal.web.app_problems(inventory_dir, names=['web1']) }}"
    - name: Resolve as for a host
      ansible.builtin.set_fact:
        resolved: >-
          {{ wsgi_apps | baremetal.web.resolve_apps(inventory_dir, names=['web1'], cpus=2, memory=4096,
          machine='x86_64', python='3.13') if problems == [] else {} }}
    - name: Show
      ansible.builtin.debug:
        msg: "{{ {'problems': problems, 'resolved': resolved} | to_json | b64encode }}"
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
