"""The droplet's side of OdooOps: deploys, migrates and reverts customers' Odoo databases."""

__version__ = "0.1.0"
