#!/bin/sh
# Says who this host is. Arguments: ID, name, version, code name (or ""), ID_LIKE.
set -eu
major=${3%%.*}

rm -f /etc/*-release /etc/issue /etc/issue.net
ln -s ../usr/lib/os-release /etc/os-release
cat >/usr/lib/os-release <<EOF
NAME="$2"
VERSION="$3${4:+ ($4)}"
ID="$1"
ID_LIKE="$5"
VERSION_ID="$3"
PLATFORM_ID="platform:el$major"
PRETTY_NAME="$2 $3${4:+ ($4)}"
CPE_NAME="cpe:/o:$1:$1:$3"
EOF
echo "$2 release $3${4:+ ($4)}" >/etc/redhat-release
case $1 in
    centos | rocky | almalinux) ln -s redhat-release "/etc/$1-release" ;;
esac
