#!/bin/sh
# Make the base image's Odoo run as the pinned user, and give its Python a name of its own.
set -eu
id=$1
groupmod -g "$id" odoo
usermod -u "$id" -g "$id" odoo
for folder in /var/lib/odoo /etc/odoo /mnt/extra-addons; do
    if [ -d "$folder" ]; then chown -R odoo:odoo "$folder"; fi
done
install -d -m 755 /etc/odooops /usr/local/lib/odooops \
    /opt/odoo/addons/custom /opt/odoo/addons/oca /opt/odoo/addons/enterprise

# The script `odoo` says itself which Python runs it: the system's in the official image, perhaps a
# virtual environment's elsewhere. A wrapper, as a symlink into a virtual environment would leave it.
python=$(sed -n '1s/^#! *//p' "$(command -v odoo)")
case "$python" in
    *python*) ;;
    *) echo "ODOOOPS_ERROR The base image's odoo is no Python script, so its Python can't be found." >&2; exit 1 ;;
esac
printf '#!/bin/sh\nexec %s "$@"\n' "$python" > /usr/local/bin/odooops-python
chmod 755 /usr/local/bin/odooops-python
odooops-python -c 'import odoo.release' || {
    echo "ODOOOPS_ERROR The Python that runs odoo ($python) can't import it." >&2
    exit 1
}
