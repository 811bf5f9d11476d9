from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import copies
from ..models.mixins import says_bad_names


class OdooopsCloneWizard(models.TransientModel):
    _name = "odooops.clone.wizard"
    _description = "Clone Production to a Lower Tier"

    environment_id = fields.Many2one("odooops.environment", required=True, readonly=True)
    # With the user's own rights: the ids come from the client.
    project_id = fields.Many2one(related="environment_id.project_id", related_sudo=False)
    source_id = fields.Many2one(
        "odooops.environment",
        string="Copy of",
        compute="_compute_source",
        compute_sudo=False,
        store=True,
        readonly=False,
        precompute=True,
        domain="[('project_id', '=', project_id), ('tier', '=', 'production')]",
    )
    obfuscate = fields.Boolean(
        string="Make personal data unreadable",
        compute="_compute_source",
        compute_sudo=False,
        store=True,
        readonly=False,
        precompute=True,
    )
    made_of = fields.Char(compute="_compute_made_of", string="Made of")
    refusal = fields.Char(compute="_compute_made_of")
    loss = fields.Char(compute="_compute_loss")
    inspection_state = fields.Selection(related="environment_id.inspection_state", related_sudo=False)
    inspection_error = fields.Char(related="environment_id.inspection_error", related_sudo=False)
    unexported_count = fields.Integer(related="environment_id.unexported_count", related_sudo=False)
    left_out_count = fields.Integer(related="environment_id.left_out_count", related_sudo=False)
    inspection_html = fields.Html(related="environment_id.inspection_html", related_sudo=False)
    can_list = fields.Boolean(compute="_compute_made_of")
    discard = fields.Boolean(string="I need none of these changes any more")
    key_typed = fields.Char(string="Type the environment's name")

    @api.depends("environment_id")
    def _compute_source(self):
        for wizard in self:
            wizard.source_id = wizard.environment_id.sudo()._clone_source()
            wizard.obfuscate = wizard.environment_id.clone_obfuscate

    @api.depends("environment_id", "source_id")
    def _compute_made_of(self):
        now = fields.Datetime.now()
        for wizard in self:
            environment, source = wizard.environment_id.sudo(), wizard.source_id.sudo()
            wizard.can_list = environment._can("inspect") or not environment._listed_release()
            wizard.refusal = environment._clone_refusal(source)
            wizard.made_of = False
            if wizard.refusal:
                continue
            try:
                values = environment._copied_values(source)
            except UserError as error:
                wizard.refusal = str(error)
                continue
            kind = self.env._("backup") if values["backup_id"] else self.env._("restore set")
            wizard.made_of = self.env._(
                "The newest %(kind)s, of %(at)s UTC: %(age)s old",
                kind=kind,
                at=fields.Datetime.to_string(values["data_as_of"])[:16],
                age=copies.age(values["data_as_of"], now),
            )

    @api.depends("environment_id", "source_id")
    def _compute_loss(self):
        for wizard in self:
            wizard.loss = self.env._(
                "All data of %(environment)s are replaced by those of %(origin)s. What is there now stays as a restore "
                "set that a rollback can bring back. %(origin)s is not touched.",
                environment=wizard.environment_id.key or "",
                origin=wizard.source_id.key or "?",
            )

    @says_bad_names
    def action_clone(self):
        """Have the copy made, and open it."""
        environment, source = self._checked()
        if (self.key_typed or "").strip() != environment.key:
            raise UserError(self.env._("Type %s to say that you mean it.", environment.key))
        if environment._unexported_changes() and not self.discard:
            raise UserError(
                self.env._("Export the changes that were made by hand, or say that you need none of them any more.")
            )
        one, _is_new = self.env["odooops.clone"]._start(
            environment,
            "button",
            source,
            obfuscate=self.obfuscate,
            discard=self.discard or environment.inspection_state == "done" or not self.can_list,
        )
        return {"type": "ir.actions.act_window", "res_model": one._name, "res_id": one.id, "view_mode": "form"}

    def action_export(self):
        """Download the changes made by hand."""
        self._checked()
        return self.environment_id.action_export_changes()

    def action_look_again(self):
        """Show the wizard again, with what was listed meanwhile."""
        self._checked()
        self.environment_id.sudo()._inspect_for_wizard()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Clone to %s", self.environment_id.key),
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "target": "new",
        }

    def _checked(self):
        """Return environment and source in sudo, when the user may read both and clone."""
        self.ensure_one()
        self.environment_id.check_access("read")
        self.source_id.check_access("read")
        self.environment_id.project_id._require_role("developer", "release_manager")
        return self.environment_id.sudo(), self.source_id.sudo()
