#!/bin/sh
# Bring a fresh Debian 12 or Ubuntu machine to where Python can do the rest: a few packages, when missing, and
# a virtual environment in .run/venv. Its second run does nothing. Run as root (make uses sudo where needed).
# Usage: bootstrap.sh [dev]   "dev" adds what tests and lint need.
#
# The tests start PostgreSQL servers of their own from the distribution's package; installing it must not start another one.
set -eu
cd "$(dirname "$0")/../.."
state=${ODOOOPS_STATE_FOLDER:-.run}
venv=$state/venv
requirements="scripts/setup/requirements.txt"
if [ "${1:-}" = dev ]; then
    requirements="$requirements scripts/setup/requirements-dev.txt"
fi
mkdir -p "$state/log"
log=$state/log/bootstrap.log

say() { printf '    %s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# The first Python that is new enough and can make virtual environments.
find_python() {
    for python in python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
}

missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need git git
need curl curl
if [ "${1:-}" = dev ]; then
    need restic restic
fi
[ -s /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
[ -n "$(find_python)" ] || missing="$missing python3 python3-venv"
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || die "Please install:$missing (this machine has no apt-get)."
    [ "$(id -u)" = 0 ] || die "Installing$missing needs root: run make as root or with sudo."
    say "installing$missing"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 \
        || { tail -n 20 "$log" >&2; die "apt-get could not install:$missing."; }
fi
# The newest PostgreSQL that the distribution packages: 15 on Debian 12, 16 on Ubuntu 24.04.
packaged_postgresql() {
    apt-cache pkgnames postgresql- | sed -n 's/^\(postgresql-[0-9][0-9]*\)$/\1/p' | sort -t - -k 2 -n | tail -n 1
}
if [ "${1:-}" = dev ] && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    setting=/etc/postgresql-common/createcluster.conf
    if [ ! -e "$setting" ]; then
        mkdir -p "${setting%/*}"
        echo 'create_main_cluster = false' >"$setting"
        trap 'mv -f "$setting.ucf-dist" "$setting" 2>/dev/null || rm -f "$setting"' EXIT
    fi
    [ -n "$(packaged_postgresql)" ] || apt-get update >"$log" 2>&1
    package=$(packaged_postgresql)
    say "installing ${package:=postgresql}"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" >"$log" 2>&1 \
        || say "could not install $package: the tests on it will fail ($log says why)"
fi
python=$(find_python)
[ -n "$python" ] || die "Python 3.11 or newer with venv is needed; this machine's python3 is older: install python3.11-venv."

wanted=$(cat $requirements | sha256sum | cut -d' ' -f1)
for have in "$venv"/requirements-*; do
    if [ "$have" = "$venv/requirements-$wanted" ]; then
        exit 0
    fi
done
# A folder that was moved or copied has scripts of the old place: make it anew.
"$venv/bin/python" -c '' 2>/dev/null || { rm -rf "$venv"; "$python" -m venv "$venv"; }
say "installing Python packages into $venv"
# One install at a time puts both lists into one resolution.
list=$(for file in $requirements; do printf ' -r %s' "$file"; done)
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check $list >"$log" 2>&1 \
    || { tail -n 20 "$log" >&2; die "pip could not install the Python packages; the lines above say why."; }
: >"$venv/requirements-$wanted"
if [ "${1:-}" = dev ]; then
    : >"$venv/requirements-$(sha256sum <scripts/setup/requirements.txt | cut -d' ' -f1)"
fi
