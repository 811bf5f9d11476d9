from odoo import api, fields, models

from ..core import checks, github_out
from ..github_client import Failed

# A comment of ours is among the first, unless somebody else's robots were very quick.
_PAGES = 5


class OdooopsPullRequest(models.Model):
    _name = "odooops.pull.request"
    _description = "Pull Request"
    _order = "project_id, number desc"
    _rec_name = "title"

    project_id = fields.Many2one("odooops.project", required=True, readonly=True, ondelete="cascade", index=True)
    number = fields.Integer(required=True, readonly=True)
    title = fields.Char(readonly=True)
    state = fields.Selection(
        [("open", "Open"), ("merged", "Merged"), ("closed", "Closed")], required=True, readonly=True, default="open"
    )
    head_ref = fields.Char(string="From", readonly=True)
    head_sha = fields.Char(string="Commit", required=True, readonly=True, index=True)
    base_ref = fields.Char(string="Into", readonly=True)
    merge_sha = fields.Char(string="Merged as", readonly=True, index="btree_not_null")
    is_fork = fields.Boolean(string="From a fork", readonly=True, help="Nothing is deployed for it.")
    labels = fields.Json(prefetch=False, readonly=True)
    risk_tier = fields.Selection(
        [(tier, tier.capitalize()) for tier in checks.RISKS], compute="_compute_risk_tier", string="Risk"
    )
    comment_key = fields.Char(readonly=True, help="GitHub's id of our comment.")

    _number_uniq = models.Constraint("UNIQUE (project_id, number)", "This pull request is known already.")

    @api.depends("labels", "head_sha")
    def _compute_risk_tier(self):
        for request in self:
            by_labels = checks.risk_of_labels(request.labels or [])
            request.risk_tier = checks.higher(by_labels, request._checks()._risk())

    def _checks(self):
        """Return what was reported for the newest commit."""
        return (
            self.env["odooops.check.run"]
            .sudo()
            .search([("project_id", "=", self.project_id.id), ("commit_sha", "=", self.head_sha)], order="name")
        )

    @api.model
    def _note(self, project, event):
        """Write down how a pull request is now, and return it."""
        values = {
            "title": event.title,
            "state": "merged" if event.merged else event.state,
            "head_ref": event.head_ref,
            "head_sha": event.head_sha,
            "base_ref": event.base_ref,
            "is_fork": event.is_fork,
            "labels": list(event.labels),
            "merge_sha": event.merge_sha if event.merged else False,
        }
        known = self.search([("project_id", "=", project.id), ("number", "=", event.number)], limit=1)
        if known:
            known.write(values)
            return known
        return self.create({"project_id": project.id, "number": event.number, **values})

    def _environment(self):
        """Return the preview of this pull request; what comes from a fork has none."""
        if self.is_fork:
            return self.env["odooops.environment"]
        return self.project_id.environment_ids.filtered(
            lambda one: one.tier == "preview" and one.code == f"pr-{self.number}"
        )

    def _tell(self):
        """Have our comment brought up to date."""
        self.env["odooops.github.call"]._tell("comment", self.filtered(lambda one: one.state == "open"))

    def _send_comment(self, client):
        """Write our one comment, or write it anew; it is found by its marker when its id got lost."""
        repository, body = self.project_id.github_repository, github_out.comment_body(self._facts())
        if not self.comment_key:
            self.comment_key = self._find_comment(client, repository)
        try:
            answer = client.send(github_out.comment(repository, self.number, self.comment_key, body))
        except Failed as failure:
            if failure.status != 404 or not self.comment_key:
                raise
            # Somebody deleted it.
            answer = client.send(github_out.comment(repository, self.number, None, body))
        self.comment_key = str(int(answer["id"]))

    def _find_comment(self, client, repository):
        marker = github_out.marker(self.project_id.code, self.number)
        for page in range(1, _PAGES + 1):
            found = client.send(github_out.find_comment(repository, self.number, page))
            for comment in found:
                if str(comment.get("body") or "").startswith(marker):
                    return str(int(comment["id"]))
            if len(found) < 100:
                break
        return False

    def _facts(self):
        reported = self._checks()
        risk = reported.filtered(lambda one: one.name == checks.RISK_CHECK)
        return {
            "project": self.project_id.code,
            "number": self.number,
            "risk": self.risk_tier,
            "reason": risk.summary or "",
            "checks": [{"name": one.name, "status": one.status, "summary": one.summary} for one in reported],
            "is_fork": self.is_fork,
            "preview": self._preview(),
        }

    def _preview(self):
        environment = self._environment()
        deployment = environment._deployments(limit=1) if environment else None
        if not deployment:
            return None
        plan = deployment.plan or {}
        modules = [one.get("name") for one in plan.get("modules") or [] if isinstance(one, dict)]
        return {
            "environment": environment.key,
            "url": environment.url or "",
            "state_label": deployment._label(),
            "planned": bool(plan),
            "modules": modules,
            "migrations": len(plan.get("migrations") or []),
        }


class OdooopsProject(models.Model):
    _inherit = "odooops.project"

    def _on_github_pull_request(self, event):
        request = self.env["odooops.pull.request"].sudo()._note(self, event)
        request._tell()
        if event.merged:
            self._raise_risk_of_merged(request)
        where = self.env._("from a fork, nothing is deployed for it") if event.is_fork else event.head_ref
        return self.env._(
            "Pull request #%(number)s (%(where)s): %(action)s.", number=event.number, where=where, action=event.action
        )

    def _raise_risk_of_merged(self, request):
        """Let the release of a merged pull request have at least its risk."""
        release = self.env["odooops.release"].search(
            [("project_id", "=", self.id), ("commit_sha", "in", [request.merge_sha, request.head_sha])]
        )
        release.sudo()._raise_risk(request.risk_tier)


class OdooopsRelease(models.Model):
    _inherit = "odooops.release"

    def _received(self, ref, is_new):
        """Give a new release the risk of the pull requests that come with it."""
        if is_new:
            merged = [("project_id", "=", self.project_id.id), ("state", "=", "merged")]
            brought = ("merge_sha", "in", self._commits_brought())
            for request in self.env["odooops.pull.request"].sudo().search([*merged, brought]):
                self._raise_risk(request.risk_tier)
        return super()._received(ref, is_new)


class OdooopsCheckRun(models.Model):
    _inherit = "odooops.check.run"

    def _on_reported(self):
        """Bring the comments of the pull requests up to date that these checks are about."""
        result = super()._on_reported()
        for check in self[:1]:
            requests = (
                self.env["odooops.pull.request"]
                .sudo()
                .search([("project_id", "=", check.project_id.id), ("head_sha", "=", check.commit_sha)])
            )
            requests.invalidate_recordset(["risk_tier"])
            requests._tell()
        return result
