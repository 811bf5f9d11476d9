from odoo import fields, models
from odoo.exceptions import UserError

from ..core import github_out, names


class OdooopsGithubGate(models.Model):
    """A job on GitHub that waits at an environment until it is decided here."""

    _name = "odooops.github.gate"
    _description = "Gate on GitHub"
    _order = "id desc"
    _rec_name = "environment_name"

    project_id = fields.Many2one("odooops.project", required=True, readonly=True, ondelete="cascade", index=True)
    environment_id = fields.Many2one("odooops.environment", readonly=True, ondelete="cascade")
    environment_name = fields.Char(string="Environment on GitHub", required=True, readonly=True)
    deployment_id = fields.Many2one("odooops.deployment", readonly=True, ondelete="set null", index="btree_not_null")
    run = fields.Char(required=True, readonly=True)
    commit_sha = fields.Char(string="Commit", required=True, readonly=True)
    ref = fields.Char(readonly=True)
    state = fields.Selection(
        [("waiting", "Waiting"), ("approved", "Opened"), ("rejected", "Closed")],
        required=True,
        readonly=True,
        default="waiting",
    )
    comment = fields.Char(readonly=True)

    _run_uniq = models.Constraint("UNIQUE (project_id, run, environment_name)", "This job waits at the gate already.")

    def _decide(self):
        """Open or close gates whose question has an answer; what needs people waits for them."""
        for gate in self.filtered(lambda one: one.state == "waiting"):
            gate._decide_one()

    def _decide_one(self):
        environment = self.environment_id
        if not environment:
            self._answer("rejected", self.env._("OdooOps has no environment %s.", names.shown(self.environment_name)))
        elif environment.tier != "production":
            self._answer("approved", self.env._("%s takes what CI builds.", environment.key))
        else:
            self._decide_on_production()

    def _decide_on_production(self):
        try:
            deployment = self.deployment_id or self._requested()
        except (UserError, names.BadName) as error:
            self._answer("rejected", str(error))
            return
        self.deployment_id = deployment
        state = github_out.gate_state(deployment.state)
        if state:
            self._answer(
                state,
                self.env._(
                    "%(name)s is %(state)s: %(url)s",
                    name=deployment.name,
                    state=deployment._label().lower(),
                    url=deployment._console_url(),
                ),
            )

    def _requested(self):
        """Return the deployment that the job is about; it is asked for when nobody has yet."""
        Deployment = self.env["odooops.deployment"].sudo()
        release, tag = Deployment._find_release(self.environment_id, self.ref, self.commit_sha)
        user = self.project_id._service_user()
        with self.env.cr.savepoint():
            deployment, _is_new = Deployment.with_user(user).sudo()._request(self.environment_id, release, tag)
        return deployment.with_env(self.env)

    def _answer(self, state, comment):
        self.write({"state": state, "comment": comment})
        self.env["odooops.github.call"]._tell("gate", self)

    def _send_gate(self, client):
        """Tell GitHub how it was decided."""
        facts = {
            "run": self.run,
            "environment_name": self.environment_name,
            "state": self.state,
            "comment": self.comment or "",
        }
        client.send(github_out.gate_answer(self.project_id.github_repository, facts))


class OdooopsProject(models.Model):
    _inherit = "odooops.project"

    def _service_user(self):
        """Return the user that asks for what GitHub's own events ask for; nobody's approval is spent by it."""
        members = self.sudo().member_ids.filtered(lambda member: member.role == "ci" and member.user_id.active)
        user = self.sudo().oidc_user_id.filtered("active") or members.user_id[:1]
        if not user:
            raise UserError(
                self.env._("Project %s has no service user: give CI access, or trust a workflow.", self.code)
            )
        return user

    def _on_github_deployment_protection_rule(self, gate):
        run = github_out.run_of_callback(
            gate.callback_url, self.env["odooops.github.call"]._api(), gate.repository.full_name
        )
        if not run:
            raise UserError(self.env._("The address to answer to is not GitHub's: nothing is sent there."))
        environment = self.environment_ids.filtered(lambda one: one.code == gate.environment)
        Gate = self.env["odooops.github.gate"].sudo()
        wanted = [("project_id", "=", self.id), ("run", "=", run), ("environment_name", "=", gate.environment_name)]
        values = {
            "environment_id": environment.id,
            "commit_sha": gate.commit_sha,
            "ref": gate.ref,
            "deployment_id": False,
            "state": "waiting",
            "comment": False,
        }
        record = Gate.search(wanted, limit=1)
        if record:
            record.write(values)
        else:
            record = Gate.create(
                {"project_id": self.id, "run": run, "environment_name": gate.environment_name, **values}
            )
        if environment.tier != "preview" and gate.event.startswith("pull_request"):
            record._answer("rejected", self.env._("A pull request is deployed to no %s environment.", environment.tier))
        else:
            record._decide()
        return self.env._("The gate of %(environment)s is %(state)s. %(comment)s", environment=gate.environment_name,
                          state=record.state, comment=record.comment or "").strip()  # fmt: skip
