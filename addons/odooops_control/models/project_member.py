from odoo import fields, models


class OdooopsProjectMember(models.Model):
    _name = "odooops.project.member"
    _description = "Project Member"
    _inherit = ["odooops.audited.mixin"]
    _order = "project_id, role, id"
    _rec_name = "user_id"
    _audit_noun = "member"
    _audit_actions = ("added", "changed", "removed")
    _audit_fields = ("user_id", "role", "project_id")

    project_id = fields.Many2one("odooops.project", required=True, ondelete="cascade", index=True)
    user_id = fields.Many2one("res.users", required=True, ondelete="cascade", index=True)
    role = fields.Selection(
        [
            ("viewer", "Viewer"),
            ("ci", "CI"),
            ("developer", "Developer"),
            ("release_manager", "Release Manager"),
            ("approver", "Approver"),
        ],
        required=True,
        default="developer",
        help="A viewer reads, CI registers releases and asks for deployments, a developer asks for deployments, a "
        "release manager decides on them. An approver is the customer's: they decide where the policy says so.",
    )

    _user_uniq = models.Constraint("UNIQUE (project_id, user_id)", "This user is a member already.")

    def _audit_record(self):
        return self.project_id

    def _audit_identity(self):
        return {"user": self.user_id.login}

    def _audit_values(self):
        return {"user": self.user_id.login, "role": self.role}
