from odoo import api, fields, models


class OdooopsProjectMember(models.Model):
    _name = "odooops.project.member"
    _description = "Project Member"
    _order = "project_id, role, id"
    _rec_name = "user_id"

    project_id = fields.Many2one("odooops.project", required=True, ondelete="cascade", index=True)
    user_id = fields.Many2one("res.users", required=True, ondelete="cascade", index=True)
    role = fields.Selection(
        [
            ("viewer", "Viewer"),
            ("ci", "CI"),
            ("developer", "Developer"),
            ("release_manager", "Release Manager"),
        ],
        required=True,
        default="developer",
        help="A viewer reads, CI registers releases and asks for deployments, a developer asks "
        "for deployments, a release manager decides on them.",
    )

    _user_uniq = models.Constraint("UNIQUE (project_id, user_id)", "This user is a member already.")

    @api.model_create_multi
    def create(self, vals_list):
        """Record a new member in the audit log."""
        members = super().create(vals_list)
        members._audit("member.added")
        return members

    def write(self, vals):
        """Record a change of role in the audit log."""
        done = super().write(vals)
        self._audit("member.changed")
        return done

    def unlink(self):
        """Record a departure in the audit log."""
        self._audit("member.removed")
        return super().unlink()

    def _audit(self, action):
        for member in self:
            self.env["odooops.audit.event"]._record(
                member.project_id, action, member.project_id, user=member.user_id.login, role=member.role
            )
