"""The Odoo series that environments may run, and what differs between them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """What the product has to know about one Odoo series."""

    name: str
    http_port: int = 8069
    websocket_port: int = 8072
    core_modules: tuple = ("base", "web")


SERIES = {series.name: series for series in (Series("19.0"),)}
DEFAULT = "19.0"


def selection():
    """Return the series as pairs for a selection field, newest first."""
    return [(name, f"Odoo {name}") for name in sorted(SERIES, reverse=True)]
