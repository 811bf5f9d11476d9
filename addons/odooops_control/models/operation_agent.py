from datetime import timedelta

from odoo import api, fields, models

from ..core import protocol, redact, transitions

# Of one attempt; how it ended comes with the report of a failure.
_LINES_KEPT = 20000


class OdooopsOperation(models.Model):
    _inherit = "odooops.operation"

    @api.model
    def _of_agent(self, agent, operation_id, token):
        """Return the agent's operation if it still holds the lease with this token.

        :raises protocol.UnknownOperation: for another agent's operation, as for none
        :raises protocol.StaleToken: when the lease was given on
        """
        operation = self.sudo().search([("id", "=", operation_id), ("agent_id", "=", agent.id)])
        if not operation:
            raise protocol.UnknownOperation(f"This agent has no operation {operation_id}.")
        if operation.token != token:
            raise protocol.StaleToken(
                f"The lease of operation {operation_id} was given on with a newer token; stop working on it."
            )
        return operation

    @api.model
    def _heartbeat(self, agent, worked_on):
        """Renew the leases and return what the agent has to do with each operation."""
        return [{"id": one.id, "order": self._order_for(agent, one)} for one in worked_on]

    @api.model
    def _order_for(self, agent, worked_on):
        try:
            operation = self._of_agent(agent, worked_on.id, worked_on.token)
        except protocol.ProtocolError:
            return "lost"
        if not operation._take_up_again():
            return "lost"
        operation.lease_until = fields.Datetime.now() + timedelta(seconds=agent.lease_seconds)
        return "cancel" if operation.cancel_requested else "continue"

    def _take_up_again(self):
        """Return whether the agent works on it, also when its lease had run out meanwhile.

        The control plane may have been away: whoever holds the newest token goes on.
        """
        if self.state in transitions.OPERATION_LEASED:
            return True
        # A heartbeat that was under way while the outcome arrived must not bring it back to life.
        if self.reported or not self.token or self._is_overtaken():
            return False
        if self.state in ("queued", "indeterminate") and not self._is_blocked():
            moved = self._update_state("running")
            for operation in moved.filtered(lambda one: one._subject()):
                operation._subject()._on_operation_leased(operation)
            return bool(moved)
        return False

    def _is_blocked(self):
        """Return whether another operation has the environment to itself meanwhile."""
        return self.exclusive and bool(
            self.search_count(
                [
                    ("environment_id", "=", self.environment_id.id),
                    ("exclusive", "=", True),
                    ("state", "in", transitions.OPERATION_LEASED),
                    ("id", "!=", self.id),
                ],
                limit=1,
            )
        )

    def _report_steps(self, steps):
        """Record steps; a step that is known is brought up to date, never set back."""
        self.ensure_one()
        self._filter("leased")._update_state("running")
        known = {step.seq: step for step in self._current_steps()}
        new = []
        for step in steps:
            vals = {
                "name": redact.masked(step.name, 64),
                "state": step.state,
                "started_at": step.started_at,
                "finished_at": step.finished_at,
                "detail": redact.masked(step.detail, 1000),
            }
            if step.seq not in known:
                new.append({**vals, "operation_id": self.id, "token": self.token, "seq": step.seq})
                known[step.seq] = self.env["odooops.operation.step"]
            elif known[step.seq] and not (known[step.seq].finished_at and step.state == "running"):
                known[step.seq].write(vals)
        self.env["odooops.operation.step"].create(new)

    def _report_lines(self, lines):
        """Record lines of output once each."""
        self.ensure_one()
        Log = self.env["odooops.operation.log"]
        known = set(
            Log.search(
                [("operation_id", "=", self.id), ("token", "=", self.token), ("seq", "in", [one.seq for one in lines])]
            ).mapped("seq")
        )
        values = {}
        for line in lines:
            if line.seq not in known and line.seq <= _LINES_KEPT:
                values[line.seq] = {
                    "operation_id": self.id,
                    "token": self.token,
                    "seq": line.seq,
                    "step": redact.masked(line.step, 64),
                    "stream": line.stream if line.stream in ("stdout", "stderr") else "stdout",
                    "at": line.at or fields.Datetime.now(),
                    "text": redact.masked(line.text)
                    if line.seq < _LINES_KEPT
                    else self.env._("[what follows is not kept]"),
                }
        Log.create(list(values.values()))

    def _finish(self, message):
        """Record the agent's outcome; the same message again changes nothing.

        :param message: a ``core.protocol.Finish``
        """
        self.ensure_one()
        if self.reported or self.state in ("succeeded", "failed"):
            return
        if self.state == "cancelled" and not self.exclusive:
            return
        self.reported = True
        if self.state not in transitions.OPERATION_LEASED and self._is_overtaken():
            return
        self._end(message.outcome, message.result, message.error, message.finished_at)

    def _is_overtaken(self):
        """Return whether a later operation has changed the environment since."""
        return bool(
            self.search_count(
                [
                    ("environment_id", "=", self.environment_id.id),
                    ("exclusive", "=", True),
                    ("token", ">", self.token),
                ],
                limit=1,
            )
        )
