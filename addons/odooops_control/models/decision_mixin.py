from markupsafe import Markup

from odoo import fields, models
from odoo.exceptions import UserError

from ..core import policy


class OdooopsDecisionMixin(models.AbstractModel):
    """What people of a project decide on: a deployment by its plan, a rollback by its preview."""

    _name = "odooops.decision.mixin"
    _description = "Decided on by people"

    # The field of odooops.approval that leads here, and the activity that asks for a decision.
    _decision_link = None
    _approval_activity = None

    def _decided_on(self):
        """Return the hash of what is to be decided, and its number among those of the same hash."""
        raise NotImplementedError

    def _question(self):
        """Return what is to be decided, for the core."""
        raise NotImplementedError

    def _fill_approvals(self):
        """Fill the fields that say how many approved and who may."""
        decided = self.sudo()
        question = decided._question()
        self.approvals_needed = question.needed
        self.approvals_given = len(question.approved_by - question.authors)
        self.approvers_hint = ", ".join(decided._who_may_approve().mapped("name"))

    def _valid_approvals(self):
        """Return the approvals of the current plan or preview that still count, of people who may give them."""
        return self.approval_ids.filtered(
            lambda one: (
                one.decision == "approved"
                and one._is_current()
                and not one._is_too_old()
                and self._person(one.user_id).in_group
                and self._person(one.user_id).on_project
            )
        )

    def _approver_groups(self):
        """Return the groups that an approver has to be in, all of them."""
        return self.policy_id.group_id | self.env.ref("odooops_control.group_release_manager")

    def _person(self, user):
        wanted = self._approver_groups()
        return policy.Person(
            id=user._odooops_people()[0],
            name=user.name,
            in_group=user.active and wanted <= user.sudo().all_group_ids,
            on_project=self.project_id._role_of(user) == "release_manager",
        )

    def _who_may_approve(self):
        """Return the release managers whose approval still counts."""
        question = self._question()
        people = {user: self._person(user) for user in self._approvers()}
        done = question.authors | question.approved_by
        return self.env["res.users"].union(
            *(user for user, person in people.items() if person.id not in done and person.in_group)
        )

    def _approvers(self):
        """Return the people of the project who decide, whatever their groups."""
        return self.project_id._release_managers()

    def _approval_hours(self):
        """Return for how many hours an approval counts, 0 for as long as it takes."""
        return self.policy_id.approval_hours

    def _refuse(self, sentence):
        if sentence:
            raise UserError(sentence)  # pylint: disable=missing-gettext

    def _decide(self, user, decision, note, **values):
        """Write the decision down: two deciding at once run into the record's row.

        :param values: more fields of the approval
        """
        self.decided_at = fields.Datetime.now()
        decided_hash, count = self._decided_on()
        self.env["odooops.approval"].create(
            {
                self._decision_link: self.id,
                "plan_hash": decided_hash,
                "plan_count": count,
                "user_id": user.id,
                "decision": decision,
                "note": note or False,
                **values,
            }
        )
        text = (
            self.env._("Approved by %s.", user.name)
            if decision == "approved"
            else self.env._("Rejected by %s.", user.name)
        )
        self._say(f"{text} {note}".strip())
        self.env["odooops.audit.event"]._record(
            self,
            f"approval.{decision}",
            plan_hash=decided_hash,
            user=user.login,
            note=note or "",
            **self._audited_with_decision(),
            **values,
        )
        mine = self.activity_search([self._approval_activity], user_id=user.id)
        mine.unlink()

    def _audited_with_decision(self):
        """Return what else the audit log keeps of a decision."""
        return {}

    # What people read of it

    def _label(self):
        """Return the state as people read it."""
        return dict(self._fields["state"]._description_selection(self.env))[self.state]

    def _say_moved(self, before, target):
        labels = dict(self._fields["state"]._description_selection(self.env))
        self.message_post(body=self.env._("%(before)s → %(after)s", before=labels[before], after=labels[target]))

    def _say(self, sentence, log_tail=()):
        """Post a sentence, and below it log lines as they are."""
        body = Markup("<p>%s</p>") % sentence
        if log_tail:
            body += Markup("<pre>%s</pre>") % "\n".join(log_tail)
        for record in self:
            record.message_post(body=body)

    def _agent_sentence(self):
        """Return why the agent does not come for it, or None when it does or need not."""
        agent = self.environment_id.agent_id
        if not self.is_active or self.state == "awaiting_approval" or agent.state == "online":
            return None
        if agent.state == "new":
            return self.env._("The agent %s has never called: start it on its droplet.", agent.name)
        return self.env._(
            "The agent %(agent)s is silent since %(at)s UTC: look at it on %(host)s.",
            agent=agent.name,
            at=agent.last_seen_at,
            host=agent.host or agent.name,
        )
