"""The platform of a host: one name for the roles' tables, and a sentence for one that is not supported."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.web.plugins.filter.platform import SUPPORTED, name, platform


def facts(family: str, distribution: str, version: str) -> dict[str, str]:
    """Return what Ansible finds out about a host."""
    return {
        "os_family": family,
        "distribution": distribution,
        "distribution_version": version,
        "distribution_major_version": version.partition(".")[0],
    }


# distribution, version, name, family, what "auto" means
KNOWN = [
    ("CentOS", "9", "EL 9", "RedHat", "3.12"),  # CentOS Stream
    ("CentOS", "10", "EL 10", "RedHat", "3.12"),
    ("Rocky", "9.6", "EL 9", "RedHat", "3.12"),
    ("AlmaLinux", "10.0", "EL 10", "RedHat", "3.12"),
    ("RedHat", "9.4", "EL 9", "RedHat", "3.12"),
    ("OracleLinux", "9.5", "EL 9", "RedHat", "3.12"),
    ("Ubuntu", "22.04", "Ubuntu 22.04", "Debian", "3.10"),
    ("Ubuntu", "24.04", "Ubuntu 24.04", "Debian", "3.12"),
    ("Ubuntu", "26.04", "Ubuntu 26.04", "Debian", "3.14"),
    ("Debian", "12.11", "Debian 12", "Debian", "3.11"),
    ("Debian", "13.1", "Debian 13", "Debian", "3.13"),
]
UNKNOWN = [
    ("Debian", "Debian", "10.13"),
    ("RedHat", "Fedora", "41"),
    ("RedHat", "Amazon", "2023"),
    ("RedHat", "CentOS", "8"),
    ("Debian", "Ubuntu", "20.04"),
    ("Debian", "Ubuntu", "24.10"),
    ("Debian", "Linux Mint", "22.1"),
    ("Suse", "openSUSE Leap", "15.6"),
    ("Archlinux", "Archlinux", "rolling"),
]


@pytest.mark.parametrize(("distribution", "version", "wanted", "family", "python"), KNOWN)
def test_a_supported_platform_has_a_name_a_family_and_a_python(
    distribution: str, version: str, wanted: str, family: str, python: str
) -> None:
    found = facts(family, distribution, version)
    assert platform(found) == platform(found, "name") == wanted
    assert platform(found, "family") == family
    assert platform(found, "python") == python


@pytest.mark.parametrize(("distribution", "version", "wanted", "family", "python"), KNOWN)
def test_a_role_has_a_row_for_a_platform_by_its_name_or_by_its_family(
    distribution: str, version: str, wanted: str, family: str, python: str
) -> None:
    found = facts(family, distribution, version)
    assert platform(found, "row", "python")["auto"] == python
    assert platform(found, "row", "apache")["package"] == {"Debian": "apache2", "RedHat": "httpd"}[family]
    assert platform(found, "row", "nginx", "distribution")["user"] == {"Debian": "www-data", "RedHat": "nginx"}[family]
    # The packages of nginx.org are alike everywhere.
    assert platform(found, "row", "nginx", "nginx.org")["user"] == "nginx"


def test_every_supported_platform_is_named_here() -> None:
    assert {wanted for _distribution, _version, wanted, *_more in KNOWN} == set(SUPPORTED)


@pytest.mark.parametrize(("family", "distribution", "version"), UNKNOWN)
@pytest.mark.parametrize("what", ["name", "family", "python"])
def test_another_platform_is_refused_with_the_list_of_the_supported_ones(
    family: str, distribution: str, version: str, what: str
) -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        platform(facts(family, distribution, version), what)
    sentence = str(refused.value)
    assert sentence.startswith(f"{distribution} {version} is not supported. Supported: ")
    assert [supported for supported in SUPPORTED if supported not in sentence] == []


def test_a_platform_has_a_name_even_when_it_is_not_supported() -> None:
    assert name(facts("Debian", "Debian", "10.13")) == "Debian 10"


@pytest.mark.parametrize("what", ["name", "family", "python"])
def test_without_facts_the_sentence_says_how_to_gather_them(what: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"facts of this host are missing.*gather_facts: true"):
        platform({}, what)
