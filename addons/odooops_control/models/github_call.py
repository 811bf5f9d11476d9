import logging
from datetime import timedelta

import psycopg2

from odoo import api, fields, models
from odoo.tools import SQL

from ..core import github_out
from ..github_client import Failed, GithubClient, is_configured

_logger = logging.getLogger(__name__)

_BATCH = 50
_KEEP = timedelta(days=30)
# What is still being sent after this long was cut off.
_LOST_AFTER = timedelta(minutes=5)
_API = "odooops_control.github_api"


class OdooopsGithubCall(models.Model):
    """Things to tell GitHub. What exactly is told is read when it is sent, so that it is never out of date."""

    _name = "odooops.github.call"
    _description = "Call to GitHub"
    _order = "id desc"
    _rec_name = "kind"

    project_id = fields.Many2one("odooops.project", required=True, readonly=True, ondelete="cascade", index=True)
    kind = fields.Selection(
        [
            ("status", "Commit status"),
            ("deployment", "Deployment"),
            ("comment", "Comment on a pull request"),
            ("gate", "Answer at the gate"),
        ],
        required=True,
        readonly=True,
    )
    res_id = fields.Integer(string="About", required=True, readonly=True)
    state = fields.Selection(
        [
            ("waiting", "Waiting"),
            ("sending", "Sending"),
            ("sent", "Sent"),
            ("failed", "Failed"),
            ("obsolete", "Overtaken"),
        ],
        default="waiting",
        required=True,
        readonly=True,
    )
    attempts = fields.Integer(readonly=True)
    next_at = fields.Datetime(readonly=True, default=fields.Datetime.now)
    sent_at = fields.Datetime(readonly=True)
    error = fields.Char(readonly=True)

    # What waits about one thing is one call: it will tell the newest.
    _waiting_uniq = models.UniqueIndex("(kind, res_id) WHERE state = 'waiting'", "This waits to be told already.")
    _due_index = models.Index("(next_at) WHERE state IN ('waiting', 'sending')")

    @api.model
    def _tell(self, kind, records):
        """Have GitHub told of these records once the transaction is through; nothing where that is not set up."""
        # What is known to be sent already must not pass for waiting.
        self.sudo().flush_model(["state"])
        told = records.filtered(lambda one: one.project_id.sudo()._speaks_to_github())
        for record in told:
            self.env.cr.execute(
                SQL(
                    """
                    INSERT INTO odooops_github_call (project_id, kind, res_id, state, attempts, next_at, create_date)
                    VALUES (%s, %s, %s, 'waiting', 0, %s, now() AT TIME ZONE 'utc')
                    ON CONFLICT (kind, res_id) WHERE state = 'waiting'
                    DO UPDATE SET next_at = EXCLUDED.next_at, attempts = 0
                    """,
                    record.project_id.id,
                    kind,
                    record.id,
                    fields.Datetime.now(),
                )
            )
        if told:
            self.sudo().invalidate_model()
            self.sudo().env.ref("odooops_control.cron_github_calls")._trigger()

    @api.model
    def _cron_send(self):
        """Tell GitHub what is due, one by one, each in transactions of its own."""
        due = self._due()
        cron = self.env["ir.cron"]
        cron._commit_progress(remaining=len(due))
        for call in due:
            try:
                call._send_one()
            except psycopg2.OperationalError:
                self.env.cr.rollback()
                _logger.info("Call %s runs into another transaction and is taken up again.", call.id)
            if not cron._commit_progress(1):
                break

    @api.model
    def _due(self):
        now = fields.Datetime.now()
        return self.sudo().search(
            [
                "|",
                "&", ("state", "=", "waiting"), ("next_at", "<=", now),
                "&", ("state", "=", "sending"), ("next_at", "<=", now - _LOST_AFTER),
            ],
            order="next_at, id",
            limit=_BATCH,
        )  # fmt: skip

    def _send_one(self):
        """Send one call; what happens to its record from now on is a call of its own."""
        self.write({"state": "sending", "attempts": self.attempts + 1, "next_at": fields.Datetime.now()})
        self.env["ir.cron"]._commit_progress()
        record = self.env[_MODELS[self.kind]].sudo().browse(self.res_id).exists()
        if not record:
            self.state = "obsolete"
            return
        try:
            getattr(record, f"_send_{self.kind}")(self._client())
        except Failed as failure:
            self._on_failed(failure)
        except (KeyError, TypeError, ValueError) as error:
            _logger.warning("Call %s to GitHub can't be made.", self.id, exc_info=True)
            self._on_failed(Failed(str(error) or type(error).__name__, 422))
        else:
            self.write({"state": "sent", "sent_at": fields.Datetime.now(), "error": False})

    def _client(self):
        return GithubClient(self._api(), self.project_id.github_repository, self.project_id.code)

    @api.model
    def _api(self):
        return (self.env["ir.config_parameter"].sudo().get_param(_API) or github_out.API).rstrip("/")

    def _on_failed(self, failure):
        decision = github_out.after_failure(failure.status, self.attempts, failure.retry_after, failure.remaining)
        newer = self.search_count(
            [("kind", "=", self.kind), ("res_id", "=", self.res_id), ("state", "=", "waiting"), ("id", "!=", self.id)]
        )
        if newer:
            self.write({"state": "obsolete", "error": str(failure)})
        elif decision.again:
            self.write({"state": "waiting", "next_at": fields.Datetime.now() + decision.pause, "error": str(failure)})
        else:
            self.write({"state": "failed", "error": str(failure)})
            self.project_id._notify_release_managers(
                self.project_id,
                self.env._("GitHub could not be told"),
                self.env._("%s Mend it, then send it again under Reporting, Calls to GitHub.", failure),
            )

    def action_send_again(self):
        """Send calls that failed once more."""
        self.check_access("read")
        for call in self:
            call.project_id._require_role("release_manager")
            if call.state == "failed":
                record = self.env[_MODELS[call.kind]].sudo().browse(call.res_id).exists()
                call.sudo().state = "obsolete"
                self._tell(call.kind, record)
        return True

    @api.autovacuum
    def _gc_calls(self):
        """Forget what was told long ago."""
        limit = fields.Datetime.now() - _KEEP
        old = self.sudo().search(
            [("create_date", "<", limit), ("state", "in", ("sent", "failed", "obsolete"))], limit=10000
        )
        old.unlink()
        return len(old), len(old) == 10000


_MODELS = {
    "status": "odooops.deployment",
    "deployment": "odooops.deployment",
    "comment": "odooops.pull.request",
    "gate": "odooops.github.gate",
}


class OdooopsProject(models.Model):
    _inherit = "odooops.project"

    def _speaks_to_github(self):
        """Return whether there is a repository to speak of, and a token or an App to speak with."""
        return bool(self.github_repository) and is_configured(self.code)
