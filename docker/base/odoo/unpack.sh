#!/bin/sh
# Unpack the Debian packages of the folder $1 into one tree $2 (Odoo's links to the fonts and scripts are
# relative), without what an image does not need, and byte-compile it: environments run as a user who
# can't write here, so without this every start would compile Odoo anew.
set -eu
debs=$1 tree=$2
dist=$tree/usr/lib/python3/dist-packages
for deb in "$debs"/*.deb; do
    dpkg-deb -x "$deb" "$tree"
done
# The package has the addons' Python files a second time, without their data.
if ! diff -rq "$dist/addons" "$dist/odoo/addons" | grep -v "^Only in $dist/odoo/addons"; then
    rm -rf "$dist/addons"
fi
rm -rf "$tree/usr/share/doc" "$tree/usr/share/lintian" "$tree/usr/share/man" "$tree/etc" "$tree/lib" \
    "$tree/usr/lib/systemd" "$dist/doc" "$dist/setup"
keep=$(printf ' -name %s.po -o' $ODOO_LANGUAGES)
find "$dist" \( -name '*.po' ! \( ${keep% -o} \) -o -name '*.pot' \) -delete
if [ -n "$(find "$tree" -xtype l ! -name Inconsolata.otf)" ]; then
    echo "Odoo links to files that no unpacked package has:" >&2
    find "$tree" -xtype l >&2
    exit 1
fi
python3 -m compileall -q -j 0 -s "$tree" "$dist" >/dev/null || true
