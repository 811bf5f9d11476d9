#!/bin/bash
# Read the role's password while still root (secret files are readable by nobody else), then start as usual.
set -euo pipefail
ODOOOPS_ROLE_PASSWORD=$(<"$ODOOOPS_ROLE_PASSWORD_FILE")
export ODOOOPS_ROLE_PASSWORD
exec docker-entrypoint.sh "$@"
