from odoo import fields, models

from .approval_policy import AUDITED


class OdooopsApprovalPolicy(models.Model):
    _inherit = "odooops.approval.policy"
    _audit_fields = (
        *AUDITED, "backup_first", "proven_max_age_hours", "restore_test_days", "keep_daily", "keep_weekly",
        "keep_monthly",
    )  # fmt: skip

    backup_first = fields.Boolean(
        string="Back up before each deployment", tracking=True, help="However new the newest backup is."
    )
    proven_max_age_hours = fields.Integer(
        string="Restored backup (hours)",
        tracking=True,
        help="How old the newest backup that was restored in a test may be before production is touched; "
        "0 asks for none.",
    )
    restore_test_days = fields.Integer(
        string="Test a backup every (days)", default=7, help="How often a backup is restored by itself; 0 for never."
    )
    keep_daily = fields.Integer(string="Daily backups", default=7, tracking=True)
    keep_weekly = fields.Integer(string="Weekly backups", default=4, tracking=True)
    keep_monthly = fields.Integer(string="Monthly backups", default=3, tracking=True)

    _retention_check = models.Constraint(
        "CHECK (keep_daily >= 0 AND keep_weekly >= 0 AND keep_monthly >= 0 AND proven_max_age_hours >= 0 "
        "AND restore_test_days >= 0 AND keep_daily + keep_weekly + keep_monthly > 0)",
        "Keep one backup at least; times can't be negative.",
    )

    def _rules(self):
        return [*super()._rules(), self.backup_first, self.proven_max_age_hours]

    def _retention_payload(self):
        """Return what the agent keeps of an environment's backups."""
        return {
            "daily": self.keep_daily if self else 7,
            "weekly": self.keep_weekly if self else 4,
            "monthly": self.keep_monthly if self else 3,
        }
