import logging

import psycopg2

from odoo import api, models
from odoo.exceptions import AccessError, UserError

from ..core import github_events, names

_logger = logging.getLogger(__name__)

_BATCH = 200


class OdooopsEvent(models.Model):
    _inherit = "odooops.event"

    @api.model
    def _cron_github(self):
        """Process what GitHub delivered, oldest first, each in a transaction of its own."""
        waiting = self.sudo().search(
            [("state", "=", "received"), ("provider", "=", "github")], order="id", limit=_BATCH
        )
        progress = self.env["ir.cron"]
        progress._commit_progress(remaining=len(waiting))
        for event in waiting:
            try:
                event.try_lock_for_update().filtered(lambda one: one.state == "received")._process()
                self.env.flush_all()
            except psycopg2.OperationalError:
                # Somebody else wrote the same row: nothing is done yet, the next run does it.
                self.env.cr.rollback()
                _logger.info("Event %s runs into another transaction and is taken up again.", event.id)
            if not progress._commit_progress(1):
                break

    def _process(self):
        """Do what the event asks for; whatever goes wrong is written on it and hinders no other."""
        for event in self:
            try:
                with self.env.cr.savepoint():
                    outcome = event._apply()
                event.write({"state": "processed", "outcome": outcome, "error": False})
            except (github_events.BadEvent, UserError) as error:
                event._fail(str(error))
            except psycopg2.OperationalError:
                raise
            except Exception:  # pylint: disable=broad-except
                _logger.exception("Event %s of GitHub could not be processed.", event.id)
                event._fail(self.env._("This is an error of OdooOps: its log has the reason."))

    def _fail(self, sentence):
        self.write({"state": "failed", "error": sentence, "outcome": False})

    def _apply(self):
        """Return the sentence that says what came of the event."""
        event = github_events.parse(self.kind, self.payload)
        project = self._project(event)
        if not project:
            return self.env._("Concerns no project: no project names this repository.")
        self.project_id = project
        handler = getattr(project, f"_on_github_{self.kind}")
        return handler(event)

    def _project(self, event):
        """Return the project that an event is about, if any.

        :raises UserError: when the delivery was signed for another project
        """
        Project = self.env["odooops.project"].sudo()
        project = event.repository and Project._of_repository(event.repository)
        if not project:
            return Project
        if (self.signed_for or "") != project._webhook_owner():
            raise UserError(
                self.env._(
                    "Signed with the secret of %(other)s, but about %(project)s: give each webhook its own "
                    "project's secret.",
                    other=self.signed_for or self.env._("all projects"),
                    project=project.code,
                )
            )
        return project

    def action_replay(self):
        """Process GitHub's deliveries once more, for instance after what hindered them was mended."""
        if not self.env.user.has_group("odooops_control.group_administrator"):
            raise AccessError(self.env._("Only administrators of OdooOps may replay deliveries."))
        self.check_access("read")
        for event in self.sudo():
            if event.provider != "github" or event.state not in ("processed", "failed") or not event.payload:
                raise UserError(
                    self.env._(
                        "%s can't be replayed: only GitHub's deliveries that are kept can.",
                        names.shown(event.delivery_id),
                    )
                )
            self.env["odooops.audit.event"]._record(event, "event.replayed", kind=event.kind)
        self.sudo()._process()
        return True
