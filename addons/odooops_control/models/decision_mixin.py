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

    def _author_people(self):
        """Return the ids of the people whose own it is, who don't approve it."""
        raise NotImplementedError

    def _valid_approvals(self):
        """Return the approvals of the current plan or preview that still count, of people who may give them."""
        found = {one._people(): one for one in self.approval_ids.sorted("id", reverse=True) if self._is_valid(one)}
        return self.approval_ids.browse([found[vote].id for vote in policy.distinct(reversed(found))])

    def _is_valid(self, approval):
        if approval.decision != "approved" or not approval._is_current() or approval._is_too_old():
            return False
        person = self._person(approval.user_id, approval.for_user_id)
        return person.in_group and person.on_project and person.stands_for not in self._author_people()

    def _approver_groups(self):
        """Return the groups that an approver has to be in, all of them."""
        return self.policy_id.group_id | self.env.ref("odooops_control.group_release_manager")

    def _person(self, user, away=None):
        """Return a user as the core knows them.

        :param away: whom they stand in for, whose rights count then; themselves without one
        """
        voice = away or user
        sees = not away or bool(user.active and self.project_id._role_of(user))
        return policy.Person(
            id=user._odooops_people()[0],
            name=user.name,
            in_group=self._may_decide(voice),
            on_project=sees and self._is_decider(voice),
            stands_for=away._odooops_people()[0] if away else None,
        )

    def _may_decide(self, voice):
        """Return whether they are in the groups that decide."""
        return voice.active and self._approver_groups() <= voice.sudo().all_group_ids

    def _is_decider(self, voice):
        """Return whether their role on the project is one that decides."""
        return self.project_id._role_of(voice) == "release_manager"

    def _is_needed(self, voice):
        """Return whether their voice brings what is missing, where not every approver's does."""
        return True

    def _away(self, user, refusal):
        """Return for whom somebody decides: nobody where their own voice counts, else one who is away and named them.

        :param refusal: the core's, of an approval or of any decision
        """
        question, nobody = self._question(), self.env["res.users"]
        able = [
            away
            for away in (nobody, *self.env["odooops.delegation"]._away_for(user))
            if not refusal(question, self._person(user, away), question.plan_hash)
        ]
        return next((away for away in able if self._is_needed(away or user)), able[0] if able else nobody)

    def _approval_refusal(self, user, decided_hash):
        """Return why this user may not approve what they saw, or None."""
        person = self._person(user, self._away(user, policy.approval_refusal))
        return policy.approval_refusal(self._question(), person, decided_hash)

    def _who_may_approve(self):
        """Return the people whose approval still counts, those who stand in for others too."""
        question, people = self._question(), self._approvers()
        done = question.authors | question.approved_by | question.spoken_for
        delegations = self.env["odooops.delegation"]._now_of(people)
        voices = [(user, user.browse()) for user in people] + [(one.delegate_id, one.user_id) for one in delegations]
        persons = [(user, self._person(user, away)) for user, away in voices]
        return self.env["res.users"].union(
            *(user for user, one in persons if one.in_group and one.on_project and done.isdisjoint(one.people()))
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

    def _decide(self, user, decision, note, away=None, **values):
        """Write the decision down: two deciding at once run into the record's row.

        :param away: for whom they decide, if not for themselves
        :param values: more fields of the approval
        """
        self.decided_at = fields.Datetime.now()
        decided_hash, count = self._decided_on()
        approval = self.env["odooops.approval"].create(
            {
                self._decision_link: self.id,
                "plan_hash": decided_hash,
                "plan_count": count,
                "user_id": user.id,
                "for_user_id": away.id if away else False,
                "decision": decision,
                "note": note or False,
                **values,
            }
        )
        text = (
            self.env._("Approved by %s.", approval._given_by())
            if decision == "approved"
            else self.env._("Rejected by %s.", approval._given_by())
        )
        self._say(f"{text} {note}".strip())
        self.env["odooops.audit.event"]._record(
            self,
            f"approval.{decision}",
            plan_hash=decided_hash,
            user=user.login,
            in_place_of=away.login if away else "",
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
