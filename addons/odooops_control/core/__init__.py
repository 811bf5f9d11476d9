"""Decisions of the control plane: pure Python, nothing of Odoo is imported here."""
