from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..core import checks, names, redact
from .mixins import Conflict, says_bad_names

_KEEP = timedelta(days=90)
_BATCH = 10000


class OdooopsCheckRun(models.Model):
    _name = "odooops.check.run"
    _description = "Check"
    _order = "project_id, id desc"

    project_id = fields.Many2one("odooops.project", required=True, readonly=True, ondelete="cascade", index=True)
    commit_sha = fields.Char(string="Commit", required=True, readonly=True)
    name = fields.Char(required=True, readonly=True)
    status = fields.Selection(
        [(status, status.replace("_", " ").capitalize()) for status in checks.STATUSES],
        required=True,
        readonly=True,
        default="queued",
    )
    summary = fields.Char(readonly=True)
    details = fields.Json(readonly=True, prefetch=False)
    details_html = fields.Html(string="Findings", compute="_compute_details_html")
    reported_by_id = fields.Many2one("res.users", readonly=True)
    reported_at = fields.Datetime(readonly=True)
    release_id = fields.Many2one("odooops.release", readonly=True, ondelete="cascade", index="btree_not_null")

    _check_uniq = models.Constraint(
        "UNIQUE (project_id, commit_sha, name)", "This check has a result for this commit already."
    )

    @api.depends("details")
    def _compute_details_html(self):
        for check in self:
            check.details_html = self.env["ir.qweb"]._render(
                "odooops_control.check_findings", {"findings": check._findings(), "facts": check._facts()}
            )

    def _findings(self):
        found = (self.details or {}).get("findings")
        return [one for one in found if isinstance(one, dict)][:200] if isinstance(found, list) else []

    def _facts(self):
        facts = (self.details or {}).get("facts")
        return facts if isinstance(facts, dict) else {}

    @api.model
    @says_bad_names
    def report(self, project, commit_sha, name, status, summary="", details=None):
        """Record a check's result for a commit; a later result of the same check takes its place, and is audited.

        :param str project: the project's code
        :param str commit_sha: 40 hex digits; the release may be registered before or after
        :param str name: ``lint``, ``tests``, ``risk`` …; the check ``risk`` raises the release's risk tier
        :param str status: queued, in_progress, success, failure, neutral, cancelled, skipped or timed_out
        :param str summary: one sentence
        :param dict details: findings and facts; for ``risk`` its ``tier``
        :return: id, status, and the release's risk tier, None while it is not registered
        :raises: 403 without the role or for another job's commit, 404 for an unknown project, 409 for a person who
            overrules CI, 422 for what is malformed
        """
        found = self.env["odooops.project"]._find(project)
        found._require_role("ci", "release_manager")
        names.require_commit(commit_sha)
        self._refuse_report(found, commit_sha)
        [check] = self._record(found, commit_sha, [checks.parse(name, status, summary, details)])
        return {"id": check.id, "status": check.status, "risk_tier": check.release_id.risk_tier or None}

    @api.model
    def _refuse_report(self, project, commit_sha):
        """Refuse who may not report on this commit."""

    @api.model
    def _record(self, project, commit_sha, results):
        """Write results down and raise the risk tier of the commit's release; return the records, in sudo.

        :raises Conflict: when a person would overrule what CI found
        """
        release = (
            self.env["odooops.release"]
            .sudo()
            .search([("project_id", "=", project.id), ("commit_sha", "=", commit_sha)], limit=1)
        )
        records = self.sudo()
        for result in results:
            record = self._of(project, commit_sha, result.name)
            record._before_change(result)
            record.write(
                {
                    "status": result.status,
                    "summary": redact.masked(result.summary),
                    "details": redact.masked_data(result.details),
                    "reported_by_id": self.env.uid,
                    "reported_at": fields.Datetime.now(),
                    "release_id": release.id,
                }
            )
            records += record
        release._take_in_checks(records)
        records._on_reported()
        return records

    @api.model
    def _of(self, project, commit_sha, name):
        """Return the record of a check, made when it is new; of two at once the second is tried again."""
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO odooops_check_run (project_id, commit_sha, name, status, create_uid, create_date)
                VALUES (%s, %s, %s, 'queued', %s, now() AT TIME ZONE 'utc')
                ON CONFLICT (project_id, commit_sha, name) DO NOTHING
                """,
                project.id,
                commit_sha,
                name,
                self.env.uid,
            )
        )
        return self.sudo().search(
            [("project_id", "=", project.id), ("commit_sha", "=", commit_sha), ("name", "=", name)], limit=1
        )

    def _before_change(self, result):
        """Keep in the audit log what another result takes the place of; refuse a person to overrule CI."""
        reporter = self.reported_by_id
        if not reporter or result.status == self.status:
            return
        is_ci = self.project_id._role_of(self.env.user) == "ci"
        if checks.is_overruled(self.status, result.status, reporter == self.env.user, is_ci):
            raise Conflict(
                self.env._(
                    "%(name)s of %(commit)s did not pass, as %(reporter)s found: let the workflow run again, or mend "
                    "the commit.",
                    name=self.name,
                    commit=self.commit_sha[:7],
                    reporter=reporter.name,
                )
            )
        if checks.is_finished(self.status):
            self.env["odooops.audit.event"]._record(
                self,
                "check.changed",
                name=self.name,
                commit_sha=self.commit_sha,
                before=self.status,
                after=result.status,
                reported_before_by=reporter.login,
            )

    @api.autovacuum
    def _gc_checks(self):
        """Forget what was found of commits that were never released; a release keeps its checks."""
        limit = fields.Datetime.now() - _KEEP
        old = self.sudo().search([("release_id", "=", False), ("reported_at", "<", limit)], order="id", limit=_BATCH)
        old.unlink()
        return len(old), len(old) == _BATCH

    def _on_reported(self):
        """Follow up on results that came in."""

    def _risk(self):
        """Return the highest risk tier that these checks found."""
        tier = "unknown"
        for check in self:
            result = checks.Check(check.name, check.status, "", check.details or {})
            tier = checks.higher(tier, result.risk or "unknown")
        return tier
