#!/bin/sh
# Start Caddy with the configuration that ships with OdooOps, the trusted load balancers filled in.
#
# With routes of the agent in what Caddy saved last, it goes on with that: no site is missing until the agent has looked.
# The agent finds the shipped part in base.json, beside the admin socket, and brings the running one up to it. Without
# such routes (a console of its own) nothing would be lost, and nobody would bring it up to date.
set -eu
config=${ODOOOPS_CADDY_BASE:-/etc/caddy/caddy.json}
shared=${ODOOOPS_CADDY_SHARED:-/run/caddy}
saved=${XDG_CONFIG_HOME:-/config}/caddy/autosave.json
placeholder='"ranges": \[\]'

ranges=
for range in $(printf %s "${ODOOOPS_TRUSTED_PROXIES:-}" | tr , ' '); do
    case $range in
        *[!0-9A-Fa-f.:/]*)
            echo "ODOOOPS_TRUSTED_PROXIES: $range is no address: give addresses or ranges, such as 10.0.0.0/8." >&2
            exit 1
            ;;
    esac
    ranges="$ranges${ranges:+, }\"$range\""
done
if [ -n "$ranges" ] && ! grep -q "$placeholder" "$config"; then
    echo "ODOOOPS_TRUSTED_PROXIES: $config has no empty \"ranges\" to fill: see docker/caddy/caddy.json." >&2
    exit 1
fi
sed "s|$placeholder|\"ranges\": [$ranges]|" "$config" >"$shared/base.json.new"
mv "$shared/base.json.new" "$shared/base.json"

resume=
if grep -qs '{file\.' "$saved"; then
    resume=--resume
fi
exec caddy run $resume --config "$shared/base.json"
