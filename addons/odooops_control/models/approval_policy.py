from odoo import api, fields, models

from ..core import checks, rules
from .mixins import says_bad_names

_HASHED = (
    "approvals_needed",
    "high_approvals_needed",
    "critical_approvals_needed",
    "group_id",
    "second_group_id",
    "customer_approves",
    "hotfix",
    "approval_hours",
    "soak_minutes",
    "staging_soak_minutes",
    "soak_rolls_back",
    "soak_loss_minutes",
    "soak_loss_records",
    "soak_loss_posted",
    "business_freeze",
    "rehearsal",
    "required_checks",
    "backup_max_age_hours",
)
AUDITED = ("name", "tier", "active", *_HASHED)


class OdooopsApprovalPolicy(models.Model):
    _name = "odooops.approval.policy"
    _description = "Approval Policy"
    _inherit = ["odooops.audited.mixin", "mail.thread"]
    _order = "sequence, id"
    _audit_noun = "policy"
    _audit_fields = AUDITED

    name = fields.Char(required=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    tier = fields.Selection(
        [("preview", "Preview"), ("staging", "Staging"), ("production", "Production")],
        help="The policy that new environments of this tier get, first come first served. "
        "Left empty it is given by hand only.",
    )
    approvals_needed = fields.Integer(
        default=1,
        required=True,
        tracking=True,
        help="How many different people; 0 deploys without asking, which production never does.",
    )
    high_approvals_needed = fields.Integer(
        string="For high risk",
        default=1,
        required=True,
        tracking=True,
        help="How many people at least approve a release of high risk.",
    )
    critical_approvals_needed = fields.Integer(
        string="For critical risk",
        default=2,
        required=True,
        tracking=True,
        help="How many people at least approve a release of critical risk.",
    )
    second_group_id = fields.Many2one(
        "res.groups",
        string="Second group for critical risk",
        tracking=True,
        default=lambda self: self.env.ref("odooops_control.group_administrator", raise_if_not_found=False),
        help="With critical risk one approver is of this group and another of the approvers; both are release managers "
        "of the project. Left empty, one group is enough.",
    )
    customer_approves = fields.Boolean(
        string="The customer approves too",
        tracking=True,
        help="Members of the project with the role Approver count as approvers: for a team of one or two, whose "
        "customer names somebody.",
    )
    hotfix = fields.Boolean(
        string="Hotfixes",
        default=True,
        tracking=True,
        help="What is of low or medium risk, passed preflight and ran on staging may go without its time there and "
        "without being watched, with a reason and one other person's approval.",
    )
    approval_hours = fields.Integer(
        string="Approvals count for (hours)",
        default=24,
        required=True,
        tracking=True,
        help="What has not begun by then has to be approved again; 0 lets approvals stand.",
    )
    group_id = fields.Many2one(
        "res.groups",
        string="Approvers",
        required=True,
        tracking=True,
        default=lambda self: self.env.ref("odooops_control.group_release_manager", raise_if_not_found=False),
        help="Only release managers of the project who are in this group decide.",
    )
    staging_soak_minutes = fields.Integer(
        string="Minutes on staging",
        default=120,
        tracking=True,
        help="How long a release has to have been live on staging before it may go to production.",
    )
    soak_minutes = fields.Integer(
        string="Minutes of watching",
        default=15,
        tracking=True,
        help="How long a deployment is watched before it counts as live.",
    )
    # Off: going back loses what people entered since, so a team decides beforehand, not this product's default.
    soak_rolls_back = fields.Boolean(
        string="Goes back by itself",
        tracking=True,
        help="What is red for two minutes while it is watched goes back to what ran before, without another approval, "
        "when that loses no more than the following. Whoever approves the deployment agrees to it. Production only.",
    )
    soak_loss_minutes = fields.Integer(
        string="Losing at most (minutes)",
        default=30,
        required=True,
        tracking=True,
        help="Of work. They count from the deployment on, so take some more than it is watched.",
    )
    soak_loss_records = fields.Integer(
        string="Records of each kind",
        default=100,
        required=True,
        tracking=True,
        help="Created since, and as many changed. What can't be counted is decided by people.",
    )
    soak_loss_posted = fields.Integer(
        string="Posted entries and payments", default=0, required=True, tracking=True, help="Of each of the two."
    )
    business_freeze = fields.Boolean(
        string="Wait for the business",
        default=True,
        tracking=True,
        help="Nothing begins while the environment's own database shows open point-of-sale sessions, a payroll or an "
        "inventory in work, a running scheduled job, or a fiscal year that ends within three days.",
    )
    required_checks = fields.Char(
        default=", ".join(checks.REQUIRED),
        tracking=True,
        help="Without a result of each of these, and a good one, nothing goes to production: names of checks as "
        "preflight reports them, separated by commas. A skipped check is none.",
    )
    # Nothing checks this one yet, so that no view promises it.
    rehearsal = fields.Boolean(tracking=True, help="Rehearse the migration on a copy of production before deciding.")
    backup_max_age_hours = fields.Integer(
        string="Backup (hours)",
        default=24,
        tracking=True,
        help="How old the newest backup may be before a deployment; an older one makes it take another first. "
        "0 asks for none.",
    )
    version = fields.Integer(default=1, readonly=True, copy=False)
    environment_ids = fields.One2many("odooops.environment", "policy_id", string="Environments")

    _approvals_needed_check = models.Constraint(
        "CHECK (approvals_needed BETWEEN 0 AND 9 AND high_approvals_needed BETWEEN 0 AND 9"
        " AND critical_approvals_needed BETWEEN 0 AND 9)",
        "Ask for between 0 and 9 approvals.",
    )
    _production_check = models.Constraint(
        "CHECK (tier IS DISTINCT FROM 'production' OR approvals_needed > 0)",
        "Production needs one approval at least.",
    )
    _minutes_check = models.Constraint(
        "CHECK (soak_minutes >= 0 AND staging_soak_minutes >= 0 AND backup_max_age_hours >= 0 AND approval_hours >= 0)",
        "Times can't be negative.",
    )

    _soak_loss_check = models.Constraint(
        "CHECK (soak_loss_minutes BETWEEN 0 AND 100000 AND soak_loss_records BETWEEN 0 AND 100000"
        " AND soak_loss_posted BETWEEN 0 AND 100000)",
        "Give what may be lost as numbers from 0 to 100000.",
    )

    @api.constrains("required_checks")
    @says_bad_names
    def _check_required_checks(self):
        for policy in self:
            policy._required_checks()

    def write(self, vals):
        """Give a changed policy a new version: plans made under the old one lose their approvals."""
        rules = {policy: policy._rules() for policy in self}
        done = super().write(vals)
        for policy in self:
            if policy._rules() != rules[policy]:
                super(OdooopsApprovalPolicy, policy).write({"version": policy.version + 1})
        return done

    def _audit_identity(self):
        """Return the version that was changed: what was approved under it names it."""
        return {"version": self.version}

    def _rules(self):
        """Return what an approval was given under."""
        return [self[name] for name in _HASHED]

    def _asked(self):
        """Return what it asks for, as the core compares it and a deployment keeps it."""
        plain = [name for name in rules.STRICTER if name in self._fields and name != "required_checks"]
        return {
            **{name: self[name] for name in plain},
            "required_checks": sorted(self._required_checks()),
            "group_ids": self.group_id.ids,
            "second_group_ids": self.second_group_id.ids,
        }

    def _required_checks(self):
        """Return the names of the checks without which nothing goes to production; without a policy all of them."""
        return checks.parse_required(self.required_checks) if self else checks.REQUIRED

    @api.model
    def _for_tier(self, tier):
        """Return the policy that an environment of this tier gets by default."""
        return self.sudo().search([("tier", "=", tier)], limit=1)

    def _reference(self):
        """Return what goes into the plan hash: which policy, in which version."""
        return f"{self.id}.{self.version}" if self else "0"
