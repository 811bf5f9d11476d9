from odoo import fields, models
from odoo.tools import SQL


class OdooopsRelease(models.Model):
    _inherit = "odooops.release"

    ancestors = fields.Json(
        readonly=True,
        prefetch=False,
        help="This commit and those before it as CI read them from git, newest first and not all; empty when unknown.",
    )
    quarantine_ids = fields.One2many("odooops.quarantine", "release_id", readonly=True)
    bar_text = fields.Char(compute="_compute_bar_text", string="Barred from production")

    def _compute_bar_text(self):
        for release in self:
            release.bar_text = release.sudo()._bar_sentence(release.name)

    def _bar_sentence(self, tag):
        """Return why this release may not go to production, or None."""
        self.ensure_one()
        bars = (
            self.env["odooops.quarantine"]
            .sudo()
            .search([("project_id", "=", self.project_id.id), ("state", "!=", "lifted")], order="id desc")
        )
        for bar in bars:
            if self in bar._barred_releases():
                return self._sentence_of_bar(bar, tag)
        return None

    def _sentence_of_bar(self, bar, tag):
        if self == bar.release_id:
            return self.env._(
                "%(tag)s was rolled back on %(environment)s and is barred from production: link its fix or lift the "
                "bar first.",
                tag=tag,
                environment=bar.environment_id.key,
            )
        if not self.ancestors:
            return self.env._(
                "Nobody knows whether %(tag)s contains %(barred)s, which was rolled back on %(environment)s: register "
                "it with its history (check out with fetch-depth: 0), link the fix or lift the bar.",
                tag=tag,
                barred=bar.tag,
                environment=bar.environment_id.key,
            )
        if bar.state == "fixed":
            return self.env._(
                "%(tag)s contains %(barred)s, which was rolled back on %(environment)s, and not its fix %(fix)s: "
                "release what contains both, or lift the bar.",
                tag=tag,
                barred=bar.tag,
                environment=bar.environment_id.key,
                fix=bar.fix_release_id.name,
            )
        return self.env._(
            "%(tag)s contains %(barred)s, which was rolled back on %(environment)s: link the release with the fix or "
            "lift the bar first.",
            tag=tag,
            barred=bar.tag,
            environment=bar.environment_id.key,
        )

    def _carriers(self):
        """Return the releases that contain this one's commit, or may."""
        return self._containing() | self._later_without_history()

    def _containing(self):
        """Return the releases that contain this one's commit.

        What CI sends is bounded, so that releases lead to further ones: who contains a carrier contains this too.
        """
        if not self:
            return self
        found, wanted = self.browse(), [self.commit_sha]
        while wanted:
            self.flush_model(["ancestors", "commit_sha", "project_id"])
            rows = self.env.execute_query(
                SQL(
                    "SELECT id, commit_sha FROM odooops_release WHERE project_id = %s AND ancestors ?| %s",
                    self.project_id.id,
                    wanted,
                )
            )
            new = self.browse([row[0] for row in rows]) - found - self
            found |= new
            wanted = new.mapped("commit_sha")
        return found

    def _later_without_history(self):
        """Return the releases of later on of which CI sent no history: they may contain it."""
        return self.search([("project_id", "=", self.project_id.id), ("id", ">", self.id), ("ancestors", "=", False)])

    def _ancestors_of(self):
        """Return the releases whose commits this one contains."""
        return self.search([("project_id", "=", self.project_id.id), ("commit_sha", "in", self.ancestors or [])])
