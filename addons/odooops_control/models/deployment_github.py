from odoo import api, fields, models

from ..core import github_out


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    github_key = fields.Char(readonly=True, copy=False, help="GitHub's id of this deployment.")
    gate_ids = fields.One2many("odooops.github.gate", "deployment_id", string="Gates on GitHub", readonly=True)

    @api.model_create_multi
    def create(self, vals_list):
        """Tell GitHub of a new deployment."""
        deployments = super().create(vals_list)
        deployments._tell_github()
        return deployments

    def _on_state_updated(self, before, target):
        result = super()._on_state_updated(before, target)
        self._tell_github()
        self.sudo().gate_ids._decide()
        return result

    def _tell_github(self):
        """Have commit status, deployment and the preview's pull request brought up to date."""
        Call = self.env["odooops.github.call"].sudo()
        Call._tell("status", self)
        Call._tell("deployment", self)
        for deployment in self.filtered(lambda one: one.tier == "preview"):
            deployment.project_id._pull_request_of(deployment.environment_id)._tell()

    def _github_facts(self):
        environment = self.environment_id
        return {
            "id": self.id,
            "commit_sha": self.release_id.commit_sha,
            "environment": environment.key,
            "code": environment.code,
            "tier": self.tier,
            "tag": self.tag,
            "state": self.state,
            "state_label": self._label(),
            "error": (self.failure_message or "") if self.failure_code else "",
            "url": environment.url or "",
            "console_url": self._console_url(),
        }

    def _console_url(self):
        return f"{self.get_base_url()}/odoo/odooops.deployment/{self.id}"

    def _send_status(self, client):
        """Set the status of the commit, unless a newer deployment of it to here has its own to say."""
        newer = self.environment_id._deployments([("release_id", "=", self.release_id.id), ("id", ">", self.id)], 1)
        wanted = github_out.commit_status(self.project_id.github_repository, self._github_facts())
        if wanted and not newer:
            client.send(wanted)

    def _send_deployment(self, client):
        """Make the deployment known, once, and say where it stands."""
        repository, facts = self.project_id.github_repository, self._github_facts()
        if not self.github_key:
            found = client.send(github_out.find_deployment(repository, facts))
            answer = found[0] if found else client.send(github_out.create_deployment(repository, facts))
            self.github_key = str(int(answer["id"]))
        client.send(github_out.deployment_status(repository, self.github_key, facts))


class OdooopsProject(models.Model):
    _inherit = "odooops.project"

    def _pull_request_of(self, environment):
        """Return the pull request that a preview is for."""
        number = environment.code.removeprefix("pr-") if environment.code.startswith("pr-") else ""
        if not number.isdigit() or len(number) > 9:
            return self.env["odooops.pull.request"].sudo()
        return (
            self.env["odooops.pull.request"]
            .sudo()
            .search([("project_id", "=", self.id), ("number", "=", int(number))], limit=1)
        )
