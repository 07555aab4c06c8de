#!/bin/sh
# Turns Debian 13 into a host that dnf and rpm manage, laid out like the RHEL family. Argument: its major version.
# The packages are Debian's files in RPMs that have the names, paths and accounts of the RHEL family.
set -eu
major=$1
here=$(dirname "$0")
work=$(mktemp -d)
chmod 755 "$work" # apt downloads as a user of its own
repository=/usr/share/stand-in
export DEBIAN_FRONTEND=noninteractive

# --- what Debian has -------------------------------------------------------------------------------------------------

cp -r /etc/apt "$work/apt"
if [ "$major" = 9 ]; then
    # Debian 12 has Python 3.11; of everything else the newer version is taken
    for list in "$work/apt/sources.list" "$work"/apt/sources.list.d/*; do
        case $list in
            *.list | *.sources) sed 's/trixie/bookworm/g' "$list" >"$work/apt/sources.list.d/older-${list##*/}" ;;
        esac
    done
fi
apt() { apt-get -qq -o "Dir::Etc=$work/apt" "$@"; }
# download DIRECTORY DEB…: these packages and what they need beyond what is installed
download() {
    directory=$work/$1
    shift
    mkdir -p "$directory/archives/partial" "$directory/root"
    apt install --yes --no-install-recommends --download-only -o "Dir::Cache::archives=$directory/archives" "$@"
    extract
}
extract() {
    for deb in "$directory"/archives/*.deb; do dpkg-deb --extract "$deb" "$directory/root"; done
    for part in doc man locale lintian bug; do rm -rf "$directory/root/usr/share/$part"; done
    rm -rf "$directory/root/etc/init.d" "$directory/root/etc/default"
}

apt update
apt install --yes --no-install-recommends dnf rpm createrepo-c >/dev/null

# --- RPMs of it ------------------------------------------------------------------------------------------------------

build() {
    rpmbuild --quiet -bb \
        --define "_topdir $work/rpmbuild" --define "_rpmdir $work/rpms" --define "_binary_payload w1.gzdio" \
        --define '__os_install_post %{nil}' --define 'debug_package %{nil}' --define '_build_id_links none' "$@"
}
# spec NAME VERSION LINE…: a package of the directory $work/NAME/root; LINE is for the head or a scriptlet
spec() {
    name=$1 version=$2
    shift 2
    mkdir -p "$work/$name/root"
    cat <<EOF
Name: $name
Version: $version
Release: 1.el$major
Summary: $name in the layout of the RHEL family
License: see the files
AutoReqProv: no
$(printf '%s\n' "$@")
%description
Made of what Debian ships.
%install
cp -a $work/$name/root/. %{buildroot}
%files
EOF
    cd "$work/$name/root"
    find . -mindepth 1 -type d | while read -r path; do [ -d "/$path" ] || echo "%dir \"${path#.}\""; done
    find . -path ./etc -prune -o ! -type d -printf '"/%P"\n'
    [ ! -d etc ] || find etc ! -type d -printf '%%config(noreplace) "/etc/%P"\n'
    cd - >/dev/null
}
package() { spec "$@" >"$work/$1.spec" && build "$work/$1.spec"; }

NGINX=$work/nginx/root
download nginx nginx
(cd "$NGINX" && rm -rf etc/ufw usr/share/apport usr/share/vim etc/nginx/sites-* etc/nginx/modules-* etc/nginx/snippets etc/nginx/proxy_params \
    usr/share/nginx/modules usr/lib/systemd/system/* && mkdir -p etc/nginx/default.d etc/nginx/conf.d etc/logrotate.d \
    usr/bin usr/lib/systemd/system usr/share/nginx/modules var/lib/nginx/tmp var/log/nginx)
install -m 755 "$here/nginx/nginx-upgrade" "$NGINX/usr/bin"
install -m 644 "$here/nginx/nginx.service" "$NGINX/usr/lib/systemd/system"
install -m 644 "$here/nginx/nginx.conf" "$NGINX/etc/nginx"
install -m 644 "$here/nginx/logrotate" "$NGINX/etc/logrotate.d/nginx"
install -m 644 "$here/nginx/index.html" "$NGINX/usr/share/nginx/html"
nginx() {
    build --define "_rpmdir $work/$1" --define "root $NGINX" --define "its_version $2" --define "its_release $3" \
        ${4:+--define "its_stream $4"} "$here/nginx/nginx.spec"
}

SUPERVISOR=$work/supervisor/root
download supervisor supervisor
(cd "$SUPERVISOR" && rm -rf etc usr/lib/systemd && mkdir -p etc/supervisord.d usr/lib/systemd/system usr/lib/tmpfiles.d)
install -m 644 "$here/supervisor/supervisord.conf" "$SUPERVISOR/etc"
install -m 644 "$here/supervisor/supervisord.service" "$SUPERVISOR/usr/lib/systemd/system"
echo 'd /run/supervisor 0770 root root' >"$SUPERVISOR/usr/lib/tmpfiles.d/supervisor.conf"
mkdir -p "$SUPERVISOR/var/log/supervisor"

# service UNIT: the scriptlets of a package with this unit, which stays disabled until somebody enables it
service() {
    cat <<EOF
%post
ldconfig
(systemd-sysusers; systemd-tmpfiles --create; systemctl daemon-reload; systemctl reload dbus) >/dev/null 2>&1 || :
%preun
[ \$1 -gt 0 ] || systemctl --no-reload disable --now $1 >/dev/null 2>&1 || :
%postun
systemctl daemon-reload >/dev/null 2>&1 || :
EOF
}
ldconfig_scriptlet='%post -p /usr/sbin/ldconfig'

package supervisor 4.2.5 "$(service supervisord.service)"
download firewalld firewalld nftables
# what Debian's package chooses when it is installed
(cd "$work/firewalld/root/usr/share/polkit-1/actions" &&
    ln -s org.fedoraproject.FirewallD1.server.policy.choice org.fedoraproject.FirewallD1.policy)
package firewalld 1.3.4 "$(service firewalld.service)"
download policycoreutils policycoreutils
package policycoreutils 3.6 "$ldconfig_scriptlet"
download policycoreutils-python-utils policycoreutils-python-utils
package policycoreutils-python-utils 3.6 'Requires: policycoreutils' "$ldconfig_scriptlet"
for name in logrotate acl curl; do
    download "$name" "$name"
    package "$name" 1.0 "$ldconfig_scriptlet"
done

download pip python3-pip python3-pip-whl python3-setuptools-whl
# python NAME VERSION BINARY LIBRARY: an interpreter with venv and ensurepip, and its pip
python() {
    name=$1 minor=${2%.*} binary=$3 library=$4
    root=$work/$name/root
    mkdir -p "$root/usr/bin" "$root/usr/share" "$work/$name-pip/root/usr/lib/python3/dist-packages" "$work/$name-pip/root/usr/bin"
    [ -e "$root/usr/bin/python$minor" ] || cp "$binary" "$root/usr/bin/python$minor"
    cp -a "$work/pip/root/usr/share/python-wheels" "$root/usr/share"
    rm -rf "$root/usr/share/applications" "$root/usr/share/pixmaps" "$root/usr/share/binfmts"
    [ -d "$root$library/ensurepip" ] || { echo "$name has no ensurepip" >&2; exit 1; }
    cp -a "$work/pip/root/usr/lib/python3/dist-packages/pip" "$work/$name-pip/root/usr/lib/python3/dist-packages"
    printf '#!/usr/bin/python%s\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n' "$minor" \
        >"$work/$name-pip/root/usr/bin/pip$minor"
    chmod 755 "$work/$name-pip/root/usr/bin/pip$minor"
    [ "$name" != python3 ] || ln -s "pip$minor" "$work/python3-pip/root/usr/bin/pip3"
    package "$name" "$2" "$ldconfig_scriptlet"
    package "$name-pip" 24.0 "Requires: $name"
}
only_ensurepip() {
    download "$1" python3.13-venv
    (cd "$work/$1/root" && rm -rf usr/bin usr/share/python-wheels)
}
if [ "$major" = 9 ]; then
    nginx rpms 1.20.1 24.el9
    nginx rpms 1.24.0 4.module_el9 1.24
    nginx rpms 1.26.3 1.module_el9 1.26
    nginx later 1.20.1 25.el9
    download python3.11 python3.11
    # these two ask for Debian 12's own python3
    (cd "$directory/archives" && apt download python3.11-venv python3-distutils) && extract
    python python3.11 3.11.11 - /usr/lib/python3.11
    only_ensurepip python3.12
    python python3.12 3.12.9 /usr/bin/python3.13 /usr/lib/python3.13
    package python3 3.9.21
else
    nginx rpms 1.26.3 1.el10
    nginx later 1.26.3 2.el10
    only_ensurepip python3
    python python3 3.12.9 /usr/bin/python3.13 /usr/lib/python3.13
fi
package centos-stream-release "$major.0" "Provides: redhat-release = $major" \
    "Provides: system-release = $major" "Provides: system-release(releasever) = $major"
package stand-in-base "$major" 'Provides: /bin/sh /usr/bin/sh /sbin/ldconfig /usr/sbin/ldconfig' \
    'Provides: bash ca-certificates coreutils dbus dnf findutils gawk glibc grep gzip iproute openssh-clients' \
    'Provides: openssh-server openssl procps-ng python3-dnf rpm sed shadow-utils sudo systemd tar util-linux'

for part in rpms later; do
    mkdir -p "$repository/$part"
    find "$work/$part" -name '*.rpm' -exec mv -t "$repository/$part" {} +
    createrepo_c --quiet --no-database "$repository/$part"
done
if [ "$major" = 9 ]; then
    sed "s/ARCH/$(rpm --eval '%_arch')/" "$here/nginx/modules.yaml" >"$work/modules.yaml"
    modifyrepo_c --mdtype=modules "$work/modules.yaml" "$repository/rpms/repodata" >/dev/null
fi

# --- and no Debian any more ------------------------------------------------------------------------------------------

rpm --install "$repository"/rpms/centos-stream-release-* "$repository"/rpms/stand-in-base-* \
    "$repository"/rpms/python3-[0-9]*
install -D -m 644 -t /etc/yum.repos.d "$here/repos/centos.repo"
install -m 644 "$here/repos/dnf.conf" /etc/dnf/dnf.conf
sh "$here/identity.sh" centos 'CentOS Stream' "$major" '' 'rhel fedora'

mkdir -p /etc/pki/tls/certs /etc/sysconfig
ln -s /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt
groupadd --system wheel
groupmod --new-name nobody nogroup
userdel www-data

rm -rf /etc/systemd/system/timers.target.wants/*dpkg-* /etc/systemd/system/timers.target.wants/apt-* \
    /usr/lib/systemd/system/apt-* /usr/lib/systemd/system/dpkg-* /usr/lib/systemd/system/timers.target.wants/*dpkg-* \
    /usr/lib/systemd/system/timers.target.wants/apt-* /etc/debian_version /etc/apt /etc/dpkg /etc/cron.daily/apt* /etc/cron.daily/dpkg /etc/logrotate.d/apt \
    /etc/logrotate.d/dpkg /etc/logrotate.d/alternatives /var/lib/apt /var/lib/dpkg /var/cache/apt /var/log/apt /var/log/dpkg.log \
    /usr/lib/python3/dist-packages/apt* /usr/bin/apt /usr/bin/apt-* /usr/bin/dpkg* /usr/sbin/dpkg* "$work" "$here"
