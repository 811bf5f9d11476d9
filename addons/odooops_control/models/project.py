from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.fields import Domain
from odoo.tools import plaintext2html

from ..core import names, series

# A role is worth no more than the group its holder is in.
_GROUPS_OF_ROLE = {
    "viewer": "odooops_control.group_viewer",
    "ci": "odooops_control.group_ci,odooops_control.group_developer",
    "developer": "odooops_control.group_developer",
    "release_manager": "odooops_control.group_release_manager",
    "approver": "odooops_control.group_approver,odooops_control.group_release_manager",
}


class OdooopsProject(models.Model):
    _name = "odooops.project"
    _description = "Project"
    _inherit = ["odooops.project.mixin", "odooops.audited.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "name, id"
    _audit_noun = "project"
    _audit_fields = (
        "name",
        "code",
        "active",
        "repository_url",
        "main_branch",
        "image_repository",
        "series",
        "github_repository",
        "github_repository_key",
        "github_owner_key",
    )
    _mail_post_access = "read"

    name = fields.Char(required=True, tracking=True)
    code = fields.Char(
        required=True,
        copy=False,
        compute="_compute_code",
        store=True,
        readonly=False,
        precompute=True,
        help="Stands before the slash in the names of its environments, such as demo/prod.",
    )
    active = fields.Boolean(default=True)
    repository_url = fields.Char(help="Where the source is, for people to click on.")
    main_branch = fields.Char(required=True, default="main")
    image_repository = fields.Char(
        tracking=True,
        help="Images come from here and nowhere else. Taken from the first release when left empty.",
    )
    series = fields.Selection(selection=lambda self: series.selection(), required=True, default=series.DEFAULT)
    released_at = fields.Datetime(string="Last release", readonly=True, copy=False)
    member_ids = fields.One2many("odooops.project.member", "project_id", string="Members")
    environment_ids = fields.One2many("odooops.environment", "project_id", string="Environments")
    release_ids = fields.One2many("odooops.release", "project_id", string="Releases")
    quarantine_ids = fields.One2many("odooops.quarantine", "project_id", readonly=True)
    environment_count = fields.Integer(compute="_compute_counts")
    release_count = fields.Integer(compute="_compute_counts")

    _code_uniq = models.Constraint("UNIQUE (code)", "Another project has this code already.")

    @api.depends("name")
    def _compute_code(self):
        for project in self:
            if not project.code and project.name:
                slug = self.env["ir.http"]._slugify(project.name)[:31].strip("-")
                project.code = slug if names.PROJECT.fullmatch(slug) else False

    @api.depends("environment_ids", "release_ids")
    def _compute_counts(self):
        for project in self:
            project.environment_count = len(project.environment_ids)
            project.release_count = len(project.release_ids)

    @api.constrains("code", "image_repository", "main_branch")
    def _check_names(self):
        checks = (
            ("code", names.PROJECT, "lower-case letters, digits and dashes, at most 31, a letter first"),
            ("image_repository", names.REPOSITORY, "an image repository such as registry.example.com/demo"),
            ("main_branch", names.BRANCH, "a branch name such as main"),
        )
        for project in self:
            for field, pattern, wanted in checks:
                if project[field] and not pattern.fullmatch(project[field]):
                    raise ValidationError(
                        self.env._("%(value)s is no %(wanted)s.", value=names.shown(project[field]), wanted=wanted)
                    )

    @api.constrains("code")
    def _check_lookalikes(self):
        self.sudo().with_context(active_test=False).environment_ids._check_lookalikes()

    @api.model_create_multi
    def create(self, vals_list):
        """Make whoever creates a project its release manager, so that they can see it."""
        projects = super().create(vals_list)
        if not self.env.su:
            self.env["odooops.project.member"].create(
                [
                    {"project_id": project.id, "user_id": self.env.uid, "role": "release_manager"}
                    for project in projects
                    if self.env.user not in project.member_ids.user_id
                ]
            )
        return projects

    def write(self, vals):
        """Keep the code while it is part of the names of databases."""
        installed = self.sudo().with_context(active_test=False).environment_ids.filtered("database_uuid").project_id
        if "code" in vals and any(project.code != vals["code"] for project in installed):
            raise UserError(
                self.env._("%s has an environment with a database: its code stays.", installed[:1].display_name)
            )
        return super().write(vals)

    @api.model
    def _find(self, code):
        """Return the project of this code that the user may see, in sudo.

        :raises MissingError: when there is none
        """
        visible = self.search([("code", "=", code)], limit=1) if isinstance(code, str) else self.browse()
        if not visible:
            raise self._sentence_of_missing(self.env._("project"), names.shown(code))
        return visible.sudo()

    def _role_of(self, user):
        """Return the role that ``user`` has on this project, or False without it or its group."""
        self.ensure_one()
        role = self.sudo().member_ids.filtered(lambda one: one.user_id == user).role
        return role if role and user.sudo().has_groups(_GROUPS_OF_ROLE[role]) else False

    def _require_role(self, *roles):
        """Refuse the user who has none of these roles on the project.

        :raises AccessError: with a sentence naming whom to ask
        """
        if self._role_of(self.env.user) not in roles:
            raise AccessError(
                self.env._(
                    "%(user)s may not do this on project %(project)s: ask one of its release managers.",
                    user=self.env.user.name,
                    project=self.sudo().code,
                )
            )

    def _release_managers(self):
        """Return the users who may approve on this project."""
        return self._members_of_role("release_manager")

    def _members_of_role(self, role):
        """Return the active users who have this role and a group that goes with it."""
        members = self.sudo().member_ids.filtered(lambda member: member.role == role)
        return members.user_id.filtered(lambda user: user.active and user.has_groups(_GROUPS_OF_ROLE[role]))

    def _notify_release_managers(self, record, summary, note):
        """Give every release manager of the project a warning to look after, the same one once."""
        # A caller's context must not leave people untold.
        record = record.sudo().with_context(mail_activity_automation_skip=False)
        kind = "mail.mail_activity_data_warning"
        for user in self._release_managers():
            open_ones = record.activity_search([kind], user_id=user.id)
            if summary not in open_ones.mapped("summary"):
                # Others' words, such as an agent's failure, are text and no HTML.
                record.activity_schedule(kind, user_id=user.id, summary=summary, note=plaintext2html(note))

    def action_open_environments(self):
        """Open the environments of the project."""
        return self._open("odooops.environment", "kanban,list,form")

    def action_open_releases(self):
        """Open the releases of the project."""
        return self._open("odooops.release", "list,form")

    def _open(self, model, modes):
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.name,
            "res_model": model,
            "view_mode": modes,
            "domain": list(Domain("project_id", "=", self.id)),
            "context": {"default_project_id": self.id},
        }
