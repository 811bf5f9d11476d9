"""The golden path for OCA's addons: submodule, link, allowlist entry; added, updated, audited and removed as one."""
