"""The gate of a pull request: lint, tests, allowlist, risk and version, each with findings that say the mend."""
