# The customer's own image with click-odoo-contrib in it, as its users install it.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
USER root
ARG PIP_CONFIG_FILE=
RUN --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    odooops-python -m pip install --no-cache-dir --break-system-packages --root-user-action=ignore click-odoo-contrib==1.24
USER 10019:10019
