from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import conditions, policy, transitions


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    conditions_kept = fields.Json(
        readonly=True, copy=False, prefetch=False, help="The checklist as it was at the start."
    )
    is_undecided = fields.Boolean(compute="_compute_is_undecided", help="It has not begun: its conditions count now.")
    conditions_html = fields.Html(compute="_compute_conditions_html", string="Conditions")

    def _compute_conditions_html(self):
        for deployment in self:
            found = [one.as_dict() for one in deployment.sudo()._conditions()] if deployment.is_undecided else None
            deployment.conditions_html = self.env["ir.qweb"]._render(
                "odooops_control.deployment_conditions", {"conditions": found or deployment.conditions_kept or []}
            )

    @api.depends("state")
    def _compute_is_undecided(self):
        for deployment in self:
            deployment.is_undecided = deployment.state in transitions.DEPLOYMENT_PENDING

    # What has to be true

    def _conditions(self):
        """Return the checklist as it is now, overrides included."""
        self.ensure_one()
        now = fields.Datetime.now()
        found = [*self._promotion_conditions(now), *self._backup_conditions(now), *self._start_conditions(now)]
        return conditions.overridden([one for one in found if one], self._overrides())

    def _promotion_conditions(self, now):
        """Return what the release has to have shown; only production asks."""
        if self.tier != "production":
            return []
        release, runs = self.release_id, self.release_id._staging_runs()
        results = release._check_results()
        return [
            conditions.preflight(self.tag, results, self._rules()["required_checks"]),
            conditions.oca(results),
            conditions.staging(self.tag, runs),
            conditions.staging_time(runs, now, self._rules()["staging_soak_minutes"]),
            conditions.staging_health(release._staging_health()),
            conditions.barred(release._bar_sentence(self.tag)),
        ]

    def _backup_conditions(self, now):
        rules, environment = self._rules(), self.environment_id
        known = environment._kept_backups()
        always = rules["backup_first"] and not self._own_backup()
        return [
            conditions.backup(known, now, rules["backup_max_age_hours"], always, environment._backup_impossible()),
            conditions.restore_test(known, now, rules["proven_max_age_hours"]),
        ]

    def _start_conditions(self, now):
        """Return what people and the calendar have to say before it begins."""
        question = self._question()
        given, names = question.approved_by - question.authors, [one._given_by() for one in self._valid_approvals()]
        return [conditions.approvals(len(given), question.needed, names, policy.missing(question))]

    def _standing_in_the_way(self, *steps):
        """Return the conditions that keep it from being asked for, or from beginning."""
        return conditions.blocking(self._conditions(), *steps)

    def _request_refusal(self):
        """Return why people are not asked yet, or None."""
        found = self._standing_in_the_way(conditions.REQUEST)
        return found[0].sentence() if found else None

    def _waits_for(self):
        """Return what it waits for besides people and its agent, or None."""
        found = self._standing_in_the_way(conditions.REQUEST, conditions.START) if self.is_undecided else []
        return next((one.sentence() for one in found if self.plan_hash and one.key != "approvals"), None)

    def _keep_conditions(self):
        """Keep the checklist as it was when the deployment began."""
        for deployment in self:
            deployment.conditions_kept = [one.as_dict() for one in deployment._conditions()]

    # Going on

    def action_request_approval(self):
        """Ask the approvers, as soon as what a machine can check holds."""
        self.ensure_one()
        self.check_access("read")
        self.project_id._require_role("developer", "release_manager")
        deployment = self.sudo()
        if deployment.state != "planned":
            raise UserError(
                self.env._(
                    "%(name)s is %(state)s: there is nothing to ask for.", name=self.name, state=self._label().lower()
                )
            )
        deployment._refuse(deployment._request_refusal())
        deployment._ask_for_approval()
        return True

    @api.model
    def _follow_conditions(self):
        """Go on with what waited for a condition that holds by now."""
        waiting = self.sudo().search([("state", "=", "planned")])
        for deployment in waiting.try_lock_for_update(allow_referencing=True):
            if not deployment._request_refusal():
                deployment._ask_for_approval()


class OdooopsCheckRun(models.Model):
    _inherit = "odooops.check.run"

    def _on_reported(self):  # pylint: disable=missing-return
        """Go on with what waited for a check."""
        super()._on_reported()
        waiting = self.release_id.sudo().deployment_ids.filtered(lambda one: one.state == "planned")
        for deployment in waiting:
            if not deployment._request_refusal():
                deployment._ask_for_approval()
