"""The entries of the firewalls as files; that they open and close is shown on real hosts by the scenario `firewall`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host.firewall import (
    Firewalld,
    FirewallError,
    Ufw,
    entry_name,
)

RULES = """\
### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### allow tcp 80,8080 0.0.0.0/0 any 0.0.0.0/0 baremetal-web-shop - in
-A ufw-user-input -p tcp -m multiport --dports 80,8080 -j ACCEPT -m comment --comment 'dapp_baremetal-web-shop'
### tuple ### allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 baremetal-web-shop-two - in
"""


class Ufws:
    """A host's ufw, which notes what it is asked for."""

    def __init__(self, root: Path):
        self.asked: list[str] = []
        self.profile = root / "etc/ufw/applications.d/baremetal-web-shop"
        self.profile.parent.mkdir(parents=True)
        self.rules = root / "etc/ufw/user.rules"
        self.firewall = Ufw(self.run, "baremetal-web-shop", str(root))

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.asked.append(" ".join(command))
        return 0, "", ""


@pytest.fixture
def ufw(tmp_path: Path, own_files: None) -> Ufws:
    return Ufws(tmp_path)


def test_new_ports_are_allowed_by_our_name(ufw: Ufws) -> None:
    ufw.firewall.open({8080, 80})
    assert "ports=80,8080/tcp\n" in ufw.profile.read_text()
    assert ufw.asked == ["ufw allow baremetal-web-shop"]


def test_former_ports_are_closed_before_the_new_ones_are_opened(ufw: Ufws) -> None:
    ufw.rules.write_text(RULES)
    ufw.firewall.open({8081})
    assert ufw.asked == ["ufw delete allow baremetal-web-shop", "ufw allow baremetal-web-shop"]


def test_more_ports_than_a_rule_holds_are_several_rules(ufw: Ufws) -> None:
    ufw.firewall.open(set(range(8000, 8017)))
    line = ufw.profile.read_text().splitlines()[-1]
    assert [len(group.split(",")) for group in line.split("|")] == [15, 2]
    assert ufw.firewall.saved() == set(range(8000, 8017))


def test_what_was_written_and_not_applied_is_not_converged(ufw: Ufws) -> None:
    ufw.firewall.open({80, 8080})
    assert not ufw.firewall.converged({80, 8080})
    ufw.rules.write_text(RULES)
    assert ufw.firewall.converged({80, 8080})
    assert not ufw.firewall.converged({80})


def test_closing_takes_the_rule_and_the_profile_away(ufw: Ufws) -> None:
    ufw.firewall.open({80, 8080})
    ufw.rules.write_text(RULES)
    ufw.firewall.close()
    assert ufw.asked[-1] == "ufw delete allow baremetal-web-shop"
    assert not ufw.profile.exists()


def test_the_ports_of_our_service_are_read_from_its_own_file(tmp_path: Path) -> None:
    services = tmp_path / "etc/firewalld/services"
    services.mkdir(parents=True)
    for name, port in (("baremetal-web-shop", 8080), ("baremetal-web-other", 8081), ("operators", 8082)):
        text = f'<?xml version="1.0" encoding="utf-8"?><service><port port="{port}" protocol="tcp"/></service>'
        (services / f"{name}.xml").write_text(text)
    firewall = Firewalld(lambda _: (0, "", ""), "baremetal-web-shop", str(tmp_path))
    assert firewall.saved() == {8080}


def test_a_firewall_that_refuses_is_quoted(tmp_path: Path) -> None:
    firewall = Ufw(lambda _: (1, "", "ERROR: Could not find a profile"), "baremetal-web-shop", str(tmp_path))
    with pytest.raises(FirewallError, match="ufw status failed: ERROR: Could not find a profile"):
        _ = firewall.running


@pytest.mark.parametrize("name", ["nginx-sites-wsgi", "nginx-site-a+b.c"])
def test_an_entry_has_a_name_that_both_firewalls_take(name: str) -> None:
    assert entry_name(name).replace("-", "").isalnum()
