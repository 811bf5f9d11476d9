#!/bin/sh
# Install the Debian packages that the file $1 lists, one a line. The names were checked when the build
# context was made. Settings of apt come as build secrets and are used only where they were given.
set -eu
[ -s "$1" ] || exit 0
if [ -f /run/secrets/apt_conf ]; then export APT_CONFIG=/run/secrets/apt_conf; fi
set -- "$1" -o Dir::Etc::netrc=/run/secrets/apt_auth
if [ -f /run/secrets/apt_sources ]; then
    set -- "$@" -o Dir::Etc::SourceList=/run/secrets/apt_sources -o Dir::Etc::SourceParts=/dev/null
fi
list=$1
shift
export DEBIAN_FRONTEND=noninteractive
apt-get "$@" -q update
xargs -r apt-get "$@" -q install -y --no-install-recommends -- < "$list" || {
    echo "ODOOOPS_ERROR A package of apt.txt could not be installed: see the lines above." >&2
    exit 1
}
# Lists and caches are on tmpfs; the logs would change with every build.
rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/cache/debconf/*-old /var/lib/dpkg/*-old
