from odoo.tools import SQL

from .models.triggers import drop_triggers


def uninstall_hook(env):
    """Take away what would hinder the uninstallation: guards of tables, and references to the module's own data."""
    drop_triggers(env.cr)
    env.cr.execute(SQL("UPDATE odooops_environment SET policy_id = NULL"))
    env.cr.execute(SQL("DELETE FROM odooops_approval_policy"))
    env.invalidate_all(flush=False)
