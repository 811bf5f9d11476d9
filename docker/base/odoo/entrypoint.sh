#!/bin/sh
# As the official image's: arguments that are not a program of their own go to odoo, with the database
# server from HOST, PORT, USER and PASSWORD.
set -eu
case "${1:-}" in
    odoo | odoo-bin) shift ;;
    "" | -*) ;;
    *) exec "$@" ;;
esac
exec odoo --db_host="${HOST:-db}" --db_port="${PORT:-5432}" --db_user="${USER:-odoo}" --db_password="${PASSWORD:-odoo}" "$@"
