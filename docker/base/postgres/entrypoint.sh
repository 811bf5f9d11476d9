#!/bin/bash
# The official image's contract: POSTGRES_USER, POSTGRES_PASSWORD(_FILE), POSTGRES_DB, POSTGRES_INITDB_ARGS,
# PGDATA and /docker-entrypoint-initdb.d, which run once, on an empty data folder.
set -euo pipefail

if [[ "${1:-postgres}" == -* ]]; then
    set -- postgres "$@"
fi
# Read as root: a secret's file may be readable by nobody else.
if [[ -n "${POSTGRES_PASSWORD_FILE:-}" ]]; then
    POSTGRES_PASSWORD=$(<"$POSTGRES_PASSWORD_FILE")
    export POSTGRES_PASSWORD
    unset POSTGRES_PASSWORD_FILE
fi
if [[ "$1" == postgres && "$(id -u)" == 0 ]]; then
    install -d -o postgres -g postgres -m 0700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$BASH_SOURCE" "$@"
fi

make_cluster() {
    local password=${POSTGRES_PASSWORD:-}
    if [[ -z "$password" ]]; then
        echo "Set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE: a superuser without a password is not made." >&2
        exit 1
    fi
    # Half a cluster of an interrupted start must not look like a whole one: the marker comes last.
    find "$PGDATA" -mindepth 1 -delete
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$password") --auth-local=trust \
        --auth-host=scram-sha-256 --encoding=UTF8 ${POSTGRES_INITDB_ARGS:-} >/dev/null
    printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    run_first_scripts
    touch "$PGDATA/odooops_complete"
}

run_first_scripts() {
    local script
    pg_ctl --silent -w -o "-c listen_addresses=''" start
    if [[ "$POSTGRES_DB" != postgres ]]; then
        createdb --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
    fi
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
            *.sh) bash "$script" ;;
            *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" -f "$script" ;;
        esac
    done
    pg_ctl --silent -w -m fast stop
}

if [[ "$1" == postgres ]]; then
    export POSTGRES_USER="${POSTGRES_USER:-postgres}"
    export POSTGRES_DB="${POSTGRES_DB:-$POSTGRES_USER}"
    if [[ ! -e "$PGDATA/odooops_complete" ]]; then
        make_cluster
    fi
    set -- "$@" -c listen_addresses='*'
fi
unset POSTGRES_PASSWORD ODOOOPS_ROLE_PASSWORD
exec "$@"
