"""The fleet tool without podman: what it reads, what it refuses and what it would run."""

import io
import os
import signal
import sys
import tarfile
from ipaddress import IPv4Address
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fleet import apt, hosts, images, inventory, machine, process, ssh
from tests.fleet.__main__ import main
from tests.fleet.process import FleetError
from tools import check

INVENTORY = """
all:
  vars:
    fleet: {name: demo, subnet: 10.89.71.0/24}
  children:
    wsgi:
      hosts:
        app1:
          ansible_host: 10.89.71.11
          fleet_host: {platform: debian12, publish: {"18081": 8080}, tunnels: {"19001": "127.0.0.1:9001"}}
    web:
      children:
        edge:
          hosts:
            app1:
            app2:
              ansible_host: 10.89.71.12
              fleet_host: {platform: ubuntu2404}
            elsewhere: {ansible_host: 192.0.2.1}
"""
PUBLISHED = 'publish: {"18081": 8080}'
TUNNELLED = 'tunnels: {"19001": "127.0.0.1:9001"}'


def load(directory: Path, text: str = INVENTORY, environment: dict[str, str] | None = None) -> inventory.Fleet:
    path = directory / "hosts.yml"
    path.write_text(text)
    return inventory.load(path, images.platforms(environment or {}))


@pytest.fixture
def fleet(tmp_path: Path) -> inventory.Fleet:
    return load(tmp_path)


@pytest.fixture
def debian() -> images.Image:
    return images.Bootstrapped("debian12", "bookworm", "http://mirror.test/debian", "http://mirror.test/security")


class TestInventory:
    def test_finds_hosts_anywhere_in_the_tree(self, fleet):
        assert [host.name for host in fleet.hosts] == ["app1", "app2"]

    def test_merges_a_host_that_appears_in_several_groups(self, fleet):
        assert fleet.host("app1") == inventory.Host(
            "app1", "debian12", IPv4Address("10.89.71.11"), {18081: 8080}, {19001: "127.0.0.1:9001"}
        )

    def test_leaves_out_hosts_that_are_not_of_the_fleet(self, fleet):
        with pytest.raises(FleetError, match="no fleet host named elsewhere; it has: app1, app2"):
            fleet.host("elsewhere")

    @pytest.mark.parametrize(
        ("old", "new", "sentence"),
        [
            ("platform: ubuntu2404", "other: 1", "fleet_host of app2 lacks `platform`, one of: alma10, "),
            ("ubuntu2404", "plan9", "app2 has the unknown platform 'plan9'; known are: alma10, alma9, centos10, "),
            ("10.89.71.12", "10.89.72.12", "app2 is 10.89.72.12, outside the fleet's subnet 10.89.71.0/24"),
            ("10.89.71.12", "10.89.71.1", "10.89.71.1, which the network itself uses: take one from 10.89.71.2 on"),
            ("10.89.71.12", "10.89.71.255", "which the network itself uses"),
            ("10.89.71.12", "10.89.71.11", "app1 and app2 have the same ansible_host 10.89.71.11"),
            ("10.89.71.12", "app2.test", "ansible_host of app2 must be an IPv4 address in 10.89.71.0/24"),
            (
                "{platform: ubuntu2404}",
                '{platform: ubuntu2404, publish: {"18081": 80}}',
                "port 18081 .* by app1 and app2",
            ),
            (
                "{platform: ubuntu2404}",
                '{platform: ubuntu2404, publish: {"19001": 80}}',
                "port 19001 .* by app1 and app2",
            ),
            (PUBLISHED, 'publish: {"70000": 8080}', "publish of app1: '70000' is not a port"),
            (PUBLISHED, 'publish: {"18081": http}', "publish of app1: 'http' is not a port"),
            (PUBLISHED, "publish: 18081", "publish of app1 must be a mapping"),
            (TUNNELLED, 'tunnels: {"19001": "9001"}', "tunnels of app1: '9001' is not an address and a port"),
            ("app2", "App_2", "host name 'App_2' must be lower-case letters, digits and dashes"),
            ("name: demo", "name: De/mo", "fleet.name must be lower-case letters, digits and dashes, not 'De/mo'"),
            ("10.89.71.0/24", "10.89.71.9/24", "fleet.subnet must be a network such as"),
            ("10.89.71.0/24", "10.89.71.0/31", "fleet.subnet 10.89.71.0/31 has no room for hosts"),
            ("fleet: ", "other: ", "fleet.name must be"),
            ("fleet_host", "other", "no host has the variable fleet_host"),
            ("all:", "all: [", "is not valid YAML"),
        ],
    )
    def test_refuses_what_cannot_work_with_one_sentence(self, tmp_path, old, new, sentence):
        assert old in INVENTORY
        with pytest.raises(FleetError, match=sentence) as refusal:
            load(tmp_path, INVENTORY.replace(old, new))
        assert str(tmp_path / "hosts.yml") in str(refusal.value)
        assert "\n" not in str(refusal.value)

    def test_a_platform_from_outside_takes_the_place_of_its_family(self, tmp_path):
        fleet = load(tmp_path, environment={"PLATFORMS": "centos10, ubuntu2604"})
        assert [host.platform for host in fleet.hosts] == ["debian12", "ubuntu2604"]
        fleet = load(tmp_path, environment={"PLATFORMS": "debian13 rocky9"})
        assert [host.platform for host in fleet.hosts] == ["debian13", "ubuntu2404"]

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            ("debian12,plan9", "PLATFORMS has the unknown platform 'plan9'; known are: alma10, "),
            ("centos9 rocky9", "PLATFORMS has centos9 and rocky9, both of the family RedHat: name one"),
        ],
    )
    def test_platforms_from_outside_that_cannot_be_are_refused(self, words, sentence):
        with pytest.raises(FleetError, match=sentence):
            images.platforms({"PLATFORMS": words})

    def test_every_platform_has_a_family(self):
        assert {images.family(platform) for platform in images.PLATFORMS} == set(images.FAMILIES)

    def test_a_missing_file_is_a_sentence_and_exit_status_2(self, tmp_path, capsys):
        assert main(["up", "-i", str(tmp_path / "none.yml")]) == 2
        assert (
            capsys.readouterr().err
            == f"fleet: cannot read the inventory {tmp_path}/none.yml: No such file or directory\n"
        )


class TestAptMirrors:
    @pytest.fixture
    def root(self, tmp_path):
        (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
        (tmp_path / "etc/os-release").write_text("ID=debian\n")
        return tmp_path

    def test_reads_one_line_sources(self, root):
        (root / "etc/apt/sources.list").write_text(
            "# deb http://commented.test/debian bookworm main\n"
            "deb-src http://source.test/debian bookworm main\n"
            "deb cdrom:[Debian]/ bookworm main\n"
            "deb [arch=amd64 signed-by=/etc/apt/keyrings/other.gpg] https://other.test/apt bookworm main\n"
            "deb [arch=amd64] http://mirror.test/debian/ bookworm main contrib # ours\n"
            "deb http://mirror.test/debian-security bookworm-security main\n"
        )
        assert apt.mirrors(root) == ("http://mirror.test/debian", "http://mirror.test/debian-security")

    def test_reads_deb822_sources(self, root):
        (root / "etc/apt/sources.list.d/debian.sources").write_text(
            "Types: deb\nEnabled: no\nURIs: http://off.test/debian\nSuites: trixie\nComponents: main\n\n"
            "Types: deb deb-src\n# a comment\nURIs: http://mirror.test/debian\nSuites: trixie\n trixie-updates\n"
            "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
            "Types: deb\nURIs: http://mirror.test/debian-security\nSuites: trixie-security\nComponents: main\n"
        )
        assert apt.mirrors(root) == ("http://mirror.test/debian", "http://mirror.test/debian-security")

    def test_skips_other_archives_that_use_debian_suites(self, root):
        (root / "etc/apt/sources.list.d/a.sources").write_text(
            "Types: deb\nURIs: https://other.test/apt\nSuites: bookworm\nComponents: main\nSigned-By:\n"
            " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----\n"
        )
        (root / "etc/apt/sources.list.d/b.list").write_text("deb http://mirror.test/debian bookworm main\n")
        assert apt.mirrors(root) == ("http://mirror.test/debian", None)

    def test_follows_a_mirror_list_of_a_cloud_machine(self, root):
        (root / "etc/apt/mirrors.list").write_text("# first\nhttps://mirror.test/debian\thigh\n")
        (root / "etc/apt/sources.list").write_text("deb mirror+file:///etc/apt/mirrors.list bookworm main\n")
        assert apt.mirrors(root) == ("https://mirror.test/debian", None)

    def test_leaves_the_choice_to_mmdebstrap_only_when_the_machine_is_not_debian(self, root):
        with pytest.raises(FleetError, match="no Debian mirror is configured"):
            apt.mirrors(root)
        (root / "etc/os-release").write_text("ID=ubuntu\nID_LIKE=debian\n")
        assert apt.mirrors(root) == (None, None)


class TestImages:
    def test_a_tag_is_the_platform_and_a_digest(self, debian):
        name, _, digest = debian.tag.rpartition(":")
        assert name == "localhost/baremetal-fleet/debian12"
        assert len(digest) == 12
        assert debian.tag == type(debian)("debian12", "bookworm", debian.mirror, debian.security).tag

    def test_another_mirror_is_another_image(self, debian):
        assert images.Bootstrapped("debian12", "bookworm", "http://other.test/debian", None).tag != debian.tag

    def test_a_changed_file_is_another_image_and_so_is_every_image_made_of_it(self, debian, monkeypatch, tmp_path):
        stand_in = images.StandIn("ubuntu2404", debian)
        before = debian.tag, stand_in.tag
        changed = images.Bootstrapped("debian12", "bookworm", debian.mirror, debian.security)
        (tmp_path / "setup.sh").write_text("true\n")
        with monkeypatch.context() as patch:
            patch.setattr(images, "SOURCE", tmp_path)
            assert changed.tag != before[0]
        assert images.StandIn("ubuntu2404", changed).tag != before[1]

    def test_the_machines_certificates_are_part_of_the_image(self, debian, monkeypatch, tmp_path):
        (tmp_path / "extra.crt").write_text("certificate\n")
        before = debian.tag
        monkeypatch.setattr(images, "CA_CERTIFICATES", tmp_path)
        assert images.Bootstrapped("debian12", "bookworm", debian.mirror, debian.security).tag != before

    def test_packed_files_belong_to_root(self, debian):
        with tarfile.open(fileobj=io.BytesIO(debian.layer)) as archive:
            assert {(entry.uid, entry.gid, entry.mtime) for entry in archive} == {(0, 0, 0)}
            assert "etc/systemd/system/boot-id.service" in archive.getnames()

    def test_ubuntu_without_an_image_is_a_stand_in_made_of_debian13(self, monkeypatch):
        monkeypatch.setattr(apt, "mirrors", lambda: (None, None))
        image = images.choose("ubuntu2404", {})
        assert (image.kind, image.needs) == ("stand-in", images.choose("debian13", {}))
        assert image.containerfile[0] == f"FROM {image.needs.tag}"

    def test_a_rebuild_of_the_rhel_family_is_made_of_centos_which_is_made_of_debian(self, monkeypatch):
        monkeypatch.setattr(apt, "mirrors", lambda: (None, None))
        image = images.choose("rocky10", {})
        assert [part.platform for part in images.lineage(image)] == ["debian13", "centos10", "rocky10"]
        assert [part.origin for part in images.lineage(image)] == ["its packages", "debian13", "centos10"]
        assert "rocky 'Rocky Linux' 10.0" in image.containerfile[-1]
        assert "build.sh 10" in images.choose("centos10", {}).containerfile[-1]

    def test_a_base_that_can_be_pulled_serves_the_stand_ins_too(self, monkeypatch):
        monkeypatch.setattr(apt, "mirrors", lambda: (None, None))
        image = images.choose("rocky9", {"TEST_IMAGE_CENTOS9": "registry.test/centos:9"})
        assert [part.kind for part in images.lineage(image)] == ["real", "stand-in"]

    def test_a_pulled_image_gets_what_its_family_calls_the_packages(self):
        for platform, package in {"centos9": "procps-ng", "rhel10": "procps-ng", "ubuntu2404": "procps"}.items():
            image = images.choose(platform, {f"TEST_IMAGE_{platform.upper()}": "registry.test/image:1"})
            assert any(line.endswith(f" {package}") for line in image.containerfile)

    def test_images_are_built_once_each_and_after_what_they_are_made_of(self, monkeypatch, tmp_path):
        monkeypatch.setattr(apt, "mirrors", lambda: (None, None))
        monkeypatch.setattr(process, "RUN", tmp_path)
        built: list[str] = []
        for kind in (images.Bootstrapped, images.StandIn):
            monkeypatch.setattr(kind, "build", lambda self, podman, log: built.append(self.platform))
        podman = type("NoImages", (), {"succeeds": lambda *words: False})()
        images.ensure([images.choose(platform, {}) for platform in ("rocky9", "centos9", "debian12")], podman, tmp_path)
        assert sorted(built) == ["centos9", "debian12", "debian13", "rocky9"]
        assert [platform for platform in built if platform != "debian12"] == ["debian13", "centos9", "rocky9"]

    @pytest.mark.parametrize("platform", images.PLATFORMS)
    def test_any_platform_can_be_pulled_instead(self, platform):
        image = images.choose(platform, {f"TEST_IMAGE_{platform.upper()}": "registry.test/image:1"})
        assert (image.kind, image.needs) == ("real", None)
        assert image.containerfile[0] == "FROM registry.test/image:1"

    def test_a_bootstrap_without_a_security_mirror_has_no_security_suite(self, debian):
        alone = images.Bootstrapped("debian12", "bookworm", debian.mirror, None)
        assert sum("bookworm-security" in part for part in debian.recipe) == 1
        assert not any("bookworm-security" in part for part in alone.recipe)

    def test_a_bootstrap_without_any_mirror_names_no_source(self):
        assert images.Bootstrapped("debian12", "bookworm", None, None).recipe[-1] == "-"


class TestHosts:
    def test_a_host_is_run_with_its_name_its_address_and_its_ports_on_loopback(self, fleet, debian):
        arguments = hosts.run_arguments(fleet, fleet.host("app1"), debian)
        line = " ".join(arguments)
        assert arguments[-1] == debian.tag
        assert "--name baremetal-demo-app1 --hostname app1" in line
        assert "--network baremetal-demo --network-alias app1 --ip 10.89.71.11" in line
        assert "--systemd=always --restart=always --cap-add=SYS_ADMIN --cap-add=NET_ADMIN" in line
        assert "--publish=127.0.0.1:18081:8080" in arguments

    @staticmethod
    def container(host, image, state="running", has_started=True, changes=()):
        spec = {**hosts.specification(host, image), **dict(changes)}
        return hosts.Container("name", host.name, state, has_started, spec)

    def test_a_live_host_is_left_alone(self, fleet, debian):
        host = fleet.host("app1")
        assert hosts.plan(host, debian, self.container(host, debian)).action == "unchanged"

    def test_a_stopped_host_is_started(self, fleet, debian):
        host = fleet.host("app1")
        for state in ("exited", "created"):
            assert hosts.plan(host, debian, self.container(host, debian, state)).action == "started"

    def test_a_missing_host_is_created(self, fleet, debian):
        assert hosts.plan(fleet.host("app1"), debian, None).action == "created"

    def test_a_host_that_changed_is_recreated_and_the_reason_is_said(self, fleet, debian):
        host = fleet.host("app1")
        plan = hosts.plan(host, debian, self.container(host, debian, changes={"image": "old", "publish": "{}"}))
        assert (plan.action, plan.reason) == ("recreated", "image and publish changed")
        plan = hosts.plan(host, debian, self.container(host, debian, "created", has_started=False))
        assert (plan.action, plan.reason) == ("recreated", "it never started")

    def test_only_a_running_host_holds_its_ports(self, fleet, debian):
        host = fleet.host("app1")
        assert self.container(host, debian).ports == {18081}
        assert self.container(host, debian, "exited").ports == set()


class TestSsh:
    def test_the_configuration_answers_to_the_name_and_to_the_address(self, fleet, tmp_path):
        config = ssh.config(fleet, tmp_path / "with space")
        assert "Host app1 10.89.71.11\n    HostName 10.89.71.11\n    User ops\n" in config
        assert f'    IdentityFile "{tmp_path}/with space/id_ed25519"\n' in config
        assert f'    UserKnownHostsFile "{tmp_path}/with space/known_hosts"\n' in config
        assert config.count("StrictHostKeyChecking yes") == config.count("ControlMaster auto") == 2

    def test_known_hosts_carry_name_and_address(self, fleet):
        lines = ssh.known_hosts([(fleet.host("app1"), ["ssh-ed25519 AAAA", "ssh-rsa BBBB"])])
        assert lines == "app1,10.89.71.11 ssh-ed25519 AAAA\napp1,10.89.71.11 ssh-rsa BBBB\n"

    def test_a_tunnel_is_an_ssh_of_its_own_that_fails_when_it_cannot_listen(self, fleet, tmp_path):
        argv = ssh.tunnel_argv(fleet, tmp_path, fleet.host("app1"), 19001)
        line = " ".join(argv)
        assert line.startswith(f"ssh -F {tmp_path}/ssh_config -S {ssh.sockets(fleet)}/tunnel-19001-")
        assert line.endswith("-L 127.0.0.1:19001:127.0.0.1:9001 app1")
        assert "-o ExitOnForwardFailure=yes" in line

    def test_control_sockets_have_short_paths(self, fleet, tmp_path):
        argv = ssh.tunnel_argv(fleet, tmp_path, fleet.host("app1"), 19001)
        assert len(argv[argv.index("-S") + 1]) < 80


class TestMachine:
    def test_podman_is_called_directly_on_cgroup2_and_through_the_namespace_elsewhere(self):
        assert machine.Podman().argv("ps") == ["podman", "ps"]
        assert machine.Podman(("nsenter", "--mount=/x")).argv("ps") == ["nsenter", "--mount=/x", "podman", "ps"]
        assert machine.Podman().env["CONTAINERS_CONF"] == str(machine.CONF)

    def test_a_usual_machine_keeps_podmans_own_runtime_and_limits(self):
        conf = machine.containers_conf(old_cgroups=False, hard_limits={})
        assert 'base_hosts_file = "none"' in conf
        assert not any(word in conf for word in ("runtime", "ulimits", "cgroup_manager"))

    def test_a_restricted_machine_gets_runc_and_limits_it_can_keep(self):
        conf = machine.containers_conf(old_cgroups=True, hard_limits={"nofile": 100, "nproc": 200})
        assert 'default_ulimits = ["nofile=100:100", "nproc=200:200"]' in conf
        assert 'runtime = "runc"' in conf
        assert 'cgroup_manager = "cgroupfs"' in conf

    def test_only_what_is_missing_is_named(self, monkeypatch, tmp_path):
        monkeypatch.setattr(machine.shutil, "which", lambda program, path=None: program != "mmdebstrap")
        monkeypatch.setattr(machine, "KEYRING", tmp_path)
        assert machine.missing_packages() == ["mmdebstrap"]

    def test_a_machine_without_apt_gets_a_way_out(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
        monkeypatch.setattr(
            machine.shutil, "which", lambda program, path=None: program != "apt-get" and program != "runc"
        )
        monkeypatch.setattr(machine, "KEYRING", tmp_path)
        monkeypatch.setattr(machine, "_needs_runc", lambda: True)
        assert main(["prepare"]) == 2
        assert "lacks runc and has no apt-get: install them with its own package manager" in capsys.readouterr().err

    def test_more_hosts_than_the_machine_carries_are_announced(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(machine, "INOTIFY", tmp_path / "limit")
        machine.INOTIFY.write_text("128\n")
        machine.warn_of_too_many(21)
        assert capsys.readouterr().err == ""
        machine.warn_of_too_many(22)
        assert "22 hosts are more than fs.inotify.max_user_instances=128 carries" in capsys.readouterr().err

    def test_without_root_the_way_out_is_sudo(self, monkeypatch, capsys):
        monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
        assert main(["prepare"]) == 2
        assert "run this with sudo" in capsys.readouterr().err


class TestInstallation:
    """What apt is asked for, and what becomes of the services of its packages; the programs are stand-ins."""

    @pytest.fixture(autouse=True)
    def place(self, monkeypatch, tmp_path, stand_ins):
        monkeypatch.setattr(process, "RUN", tmp_path / "run")
        monkeypatch.setattr(machine, "STATE", tmp_path / "state")
        monkeypatch.setattr(machine, "SEARCH", os.environ["PATH"])
        for name in ("POLICY", "SYSTEMD", "UNITS"):
            monkeypatch.setattr(machine, name, tmp_path / name)
        machine.SYSTEMD.mkdir()
        machine.UNITS.mkdir()
        for package in ("nginx", "redis-server"):
            (machine.UNITS / f"{package}.service").touch()
        stand_ins.add("dpkg-query", "for name; do :; done; [ $name != redis-server ] || echo installed")
        stand_ins.add("systemctl")
        stand_ins.add("apt-get", f"sh {machine.POLICY} || echo held back >> {stand_ins.log}")

    @staticmethod
    def disabled(stand_ins):
        return [call for call in stand_ins.calls if call.startswith("systemctl")]

    def test_no_service_starts_while_packages_are_installed(self, stand_ins):
        machine.install(["nginx"])
        assert stand_ins.calls[-3:] == [
            "apt-get install --yes --no-install-recommends nginx",
            "held back",
            "systemctl disable nginx",
        ]
        assert not machine.POLICY.exists()

    def test_only_the_units_of_packages_that_were_not_there_are_disabled(self, stand_ins):
        machine.install(["redis-server", "chromium", "nginx"])
        assert self.disabled(stand_ins) == ["systemctl disable nginx"]

    def test_without_systemd_nothing_is_disabled(self, stand_ins):
        machine.SYSTEMD.rmdir()
        machine.install(["nginx"])
        assert not self.disabled(stand_ins)

    def test_after_an_installation_that_failed_services_start_again(self, stand_ins):
        stand_ins.add("apt-get", '[ "$1" = update ]')
        with pytest.raises(FleetError, match="apt-get install failed"):
            machine.install(["nginx"])
        assert self.disabled(stand_ins) == ["systemctl disable nginx"]
        assert not machine.POLICY.exists()

    def test_services_start_again_although_one_could_not_be_disabled(self, stand_ins):
        stand_ins.add("systemctl", "echo no bus >&2; exit 1")
        with pytest.raises(FleetError, match="no bus"):
            machine.install(["nginx"])
        assert not machine.POLICY.exists()

    def test_the_policy_of_somebody_else_stays(self, stand_ins):
        machine.POLICY.write_text("#!/bin/sh\nexit 101\n")
        machine.install(["nginx"])
        machine._remove_leftover_policy()
        assert machine.POLICY.read_text() == "#!/bin/sh\nexit 101\n"
        assert self.disabled(stand_ins) == ["systemctl disable nginx"]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    @pytest.mark.parametrize("something_is_missing", [True, False])
    def test_what_a_killed_installation_left_goes_with_the_next_run(self, monkeypatch, number, something_is_missing):
        child = os.fork()
        if not child:
            try:
                with machine._services_held_back(["nginx"]):
                    os.kill(os.getpid(), number)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == number
        assert machine.POLICY.exists()
        monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
        monkeypatch.setattr(machine, "missing_packages", lambda: ["nginx"] if something_is_missing else [])
        monkeypatch.setattr(machine, "connect", machine.Podman)
        machine.prepare()
        assert not machine.POLICY.exists()


class TestCheck:
    @pytest.fixture(autouse=True)
    def place(self, monkeypatch, tmp_path):
        """Make a machine whose PATH lacks the directory of its daemons, as under plain `su`; it has all but nginx."""
        for program in check.PROGRAMS.values():
            (tmp_path / program).touch(mode=0o755)
        (tmp_path / "nginx").unlink()
        monkeypatch.setattr(machine, "SEARCH", str(tmp_path))
        monkeypatch.setattr(machine, "prepare", lambda: None)
        monkeypatch.setattr(check, "run_all", lambda checks: [])
        monkeypatch.setenv("PATH", "/nowhere")
        # What a test sets is gone after it.
        monkeypatch.setenv("TEST_PROGRAMS_REQUIRED", "")
        monkeypatch.delenv("TEST_PROGRAMS_REQUIRED")

    def test_only_what_is_in_no_directory_of_programs_is_installed(self, monkeypatch, tmp_path):
        asked = []

        def install(packages):
            asked.extend(packages)
            (tmp_path / "nginx").touch(mode=0o755)

        monkeypatch.setattr(machine, "install", install)
        check.prepare()
        assert asked == ["nginx"]

    def test_tests_find_what_was_looked_for(self, tmp_path):
        assert str(tmp_path) in check.environment()["PATH"].split(os.pathsep)

    def test_a_program_that_its_package_does_not_bring_is_named(self, monkeypatch, capsys):
        monkeypatch.setattr(machine, "install", lambda packages: None)
        assert check.main([]) == 2
        assert "no nginx in " in capsys.readouterr().err

    def test_unit_tests_alone_say_what_they_skip(self, capsys):
        check.main(["unit"])
        assert "unit tests that need nginx are skipped: `sudo make prepare`" in capsys.readouterr().err
        assert "TEST_PROGRAMS_REQUIRED" not in check.environment()

    @pytest.mark.parametrize("words", [[], ["check"]])
    def test_the_whole_and_the_short_test_skip_nothing_for_want_of_a_program(self, monkeypatch, words):
        monkeypatch.setattr(check, "prepare", lambda: None)
        monkeypatch.setattr(check, "scenarios", lambda *words, **more: [])
        check.main(words)
        assert check.environment()["TEST_PROGRAMS_REQUIRED"]

    def test_the_short_test_has_lint_the_unit_tests_and_a_host_of_each_family(self, monkeypatch):
        asked = []
        monkeypatch.setattr(check, "prepare", lambda: None)
        monkeypatch.setattr(check, "run_all", lambda checks: asked.extend(checks) or [])
        check.main(["check"])
        assert [one.name for one in asked] == [
            "scenario families",
            "unit tests",
            *(one.name for one in check.GROUPS["lint"]),
        ]
        assert all(one.beside for one in asked)
        (found,) = asked[0].progress.scenarios.values()
        assert {images.family(platform) for platform in found.platforms.values()} == set(images.FAMILIES)


def test_checks_in_rows_all_run_once_and_are_told_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "SEARCH", os.environ["PATH"])

    def make(name, beside, seconds=0):
        return check.Check(
            name, ("sh", "-c", f"sleep {seconds}; echo >> {tmp_path}/{name}; [ {name} != b ]"), beside=beside
        )

    checks = [make("a", True, 0.3), make("b", False), make("c", False), make("d", True), make("e", True)]
    results = check.run_all(checks)
    assert [(result.check.name, result.passed) for result in results] == [(name, name != "b") for name in "abcde"]
    assert all((tmp_path / name).read_text() == "\n" for name in "abcde")
