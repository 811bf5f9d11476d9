from odoo import fields, models

_GIGABYTE = 2**30


class OdooopsAgent(models.Model):
    _inherit = "odooops.agent"

    database_quota_gb = fields.Float(
        string="Cluster's disk (GB)",
        help="What the PostgreSQL cluster may hold; a managed one does not tell. Give the agent the same as "
        "ODOOOPS_PG_QUOTA_BYTES, which is what it refuses by.",
    )
    database_reserve_gb = fields.Float(string="Of it kept free (GB)", default=2.0)

    def _database_budget_gb(self):
        """Return how much databases and restore sets may take together, 0 when nobody said."""
        return max(self.database_quota_gb - self.database_reserve_gb, 0) if self.database_quota_gb else 0

    def _database_used_gb(self):
        """Return what the databases take that are known of, with their restore sets."""
        environments = self.environment_ids
        kept = sum(environment._kept_bytes() for environment in environments)
        return (kept + sum(environments.mapped("database_bytes"))) / _GIGABYTE
