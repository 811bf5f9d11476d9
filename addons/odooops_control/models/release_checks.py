import itertools

from odoo import api, fields, models

from ..core import checks

_NEWEST = 200


class OdooopsRelease(models.Model):
    _inherit = "odooops.release"

    check_ids = fields.One2many("odooops.check.run", "release_id", string="Check results", readonly=True)
    check_state = fields.Selection(
        [("none", "No checks"), ("running", "Running"), ("passed", "Passed"), ("failed", "Failed")],
        compute="_compute_check_state",
        string="Preflight",
    )

    @api.depends("check_ids.status")
    def _compute_check_state(self):
        for release in self:
            statuses = set(release.check_ids.mapped("status"))
            if statuses & {"failure", "cancelled", "timed_out"}:
                release.check_state = "failed"
            elif statuses & {"queued", "in_progress"}:
                release.check_state = "running"
            else:
                release.check_state = "passed" if statuses else "none"

    @api.model
    @api.readonly
    def checked(self, project):
        """Return which commits passed every check, newest first: CI compares a push with one of them.

        :param str project: the project's code
        :return: ``commits``, of the newest releases
        :raises: 403 without the role, 404 for an unknown project
        """
        found = self.env["odooops.project"]._find(project)
        found._require_role("ci", "developer", "release_manager")
        newest = self.sudo().search([("project_id", "=", found.id)], order="id desc", limit=_NEWEST)
        return {"commits": newest.filtered(lambda one: one._has_passed()).mapped("commit_sha")}

    def _has_passed(self):
        """Tell whether every check passed."""
        return not checks.refusal(self.name, self._check_results(), checks.REQUIRED)

    def _commits_brought(self):
        """Return the commits that this release brings: its own, and those before it that never passed in a release."""
        passed = set(self._ancestors_of().filtered(lambda one: one != self and one._has_passed()).mapped("commit_sha"))
        return [self.commit_sha, *itertools.takewhile(lambda one: one not in passed, (self.ancestors or [])[1:])]

    def _brought_to(self, running):
        """Return the releases that come with this one where `running` is what runs there."""
        if self.ancestors:
            theirs = {running.commit_sha, *(running.ancestors or [])}
            return self | self._ancestors_of().filtered(lambda one: one.commit_sha not in theirs)
        between = [("project_id", "=", self.project_id.id), ("id", ">", running.id or 0), ("id", "<", self.id)]
        return self | self.search(between)

    def _check_results(self):
        """Return the checks' names with their statuses."""
        return [(check.name, check.status) for check in self.check_ids]

    def _received(self, ref, is_new):
        """Take in, with a new release, what was reported for its commit before."""
        if is_new:
            Check = self.env["odooops.check.run"]
            of_commit = [("project_id", "=", self.project_id.id), ("commit_sha", "=", self.commit_sha)]
            known = Check.sudo().search([*of_commit, ("release_id", "=", False)])
            known.release_id = self
            # Before a push's own result takes the place of its pull request's, which knew the labels.
            self._raise_risk(known._risk())
            given = Check._record(self.project_id, self.commit_sha, checks.parse_all(self.checks))
            self._take_in_checks(known - given)
        return super()._received(ref, is_new)

    @api.model
    def _wanted(self, project, ref, commit_sha, image, manifest, given):
        """Refuse checks that are malformed, or of who may not report any, before anything is recorded."""
        if checks.parse_all(given):
            project._require_role("ci", "release_manager")
        return super()._wanted(project, ref, commit_sha, image, manifest, given)

    def _take_in_checks(self, records):
        """Raise the risk tier to what checks found; it is never lowered."""
        for release in self:
            self._raise_risk(records._risk())
            for check in records.filtered(lambda one: one.status in ("failure", "timed_out")):
                release.message_post(
                    body=self.env._("%(name)s did not pass. %(summary)s", name=check.name, summary=check.summary or "")
                )

    def _raise_risk(self, tier):
        for release in self:
            raised = checks.higher(release.risk_tier, tier)
            if raised != release.risk_tier:
                before, release.risk_tier = release.risk_tier, raised
                self.env["odooops.audit.event"]._record(release, "release.risk_raised", before=before, after=raised)


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    risk_tier = fields.Selection(
        [(tier, tier.capitalize()) for tier in checks.RISKS],
        compute="_compute_risk_tier",
        string="Risk",
        help="The highest of the releases that come with it: its own, and those before it that do not run there yet.",
    )
    check_state = fields.Selection(related="release_id.check_state", string="Preflight")
    check_ids = fields.One2many(related="release_id.check_ids", string="Checks")

    @api.depends("release_id.risk_tier", "environment_id.running_deployment_id")
    def _compute_risk_tier(self):
        for deployment in self:
            release, running = deployment.sudo().release_id, deployment.sudo().environment_id.running_deployment_id
            tier = "unknown"
            for one in release._brought_to(running.release_id):
                tier = checks.higher(tier, one.risk_tier)
            deployment.risk_tier = tier
