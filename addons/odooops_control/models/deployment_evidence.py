import logging
from base64 import b64encode

from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import UserError

from ..core import evidence, protocol, redact

_logger = logging.getLogger(__name__)

_PAPER = {
    "data-report-margin-top": 14,
    "data-report-margin-bottom": 14,
    "data-report-header-spacing": 0,
    "data-report-dpi": 96,
}
_REPORTED = ("digest", "database_uuid", "plan_hash", "health")


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    def action_evidence(self):
        """Make the evidence pack, attach it, and open the document."""
        self.ensure_one()
        self.check_access("read")
        _data, document = self.sudo()._in_everybodys_words()._make_evidence()
        is_page = document.mimetype == "text/html"
        return {
            "type": "ir.actions.act_url",
            "url": f"/odooops/evidence/{document.id}" if is_page else f"/web/content/{document.id}",
            "target": "new",
        }

    @api.model
    def evidence(self, id, document=False):  # noqa: A002  part of the protocol  pylint: disable=redefined-builtin
        """Make the evidence pack of a deployment, attach it, and return the JSON's text.

        The same facts make no second pack, so that this may be called again.

        :param int id: the deployment's id, as ``request`` returned it
        :param bool document: return the PDF, or the page where Odoo can make no PDF, as well
        :return: names and hashes of both files, ``json`` as it is in the file, ``document`` in base64
        :raises: 404 for one that the caller may not see
        """
        deployment = self._find_by_id(id)
        data, paper = deployment._in_everybodys_words()._make_evidence()
        return {
            "id": deployment.id,
            "json_name": data.name,
            "json_sha256": evidence.digest(data.raw),
            "json": data.raw.decode(),
            "document_name": paper.name,
            "document_sha256": evidence.digest(paper.raw),
            "document": b64encode(paper.raw).decode() if document else None,
        }

    def _in_everybodys_words(self):
        """Return it as nobody's language and time zone show it: the same facts have to give the same hash."""
        return self.with_context(lang="en_US", tz="UTC")

    def _make_evidence(self):
        """Return the JSON's and the document's attachment, new ones where the facts are."""
        self.ensure_one()
        facts = redact.masked_data(self._evidence())
        data = evidence.as_file(facts)
        sha256 = evidence.digest(data)
        json_name = evidence.file_name(self.id, sha256, "json")
        made = self._made_evidence(json_name, data)
        if made:
            return made
        ending, mimetype, document = self._evidence_document(facts, sha256)
        files = self._attach_evidence(
            (json_name, "application/json", data),
            (evidence.file_name(self.id, sha256, ending), mimetype, document),
        )
        self.message_post(body=self.env._("Evidence pack, SHA-256 %s", sha256), attachment_ids=files.ids)
        self.env["odooops.audit.event"]._record(
            self, "deployment.evidence_made", sha256=sha256, document_sha256=evidence.digest(document)
        )
        return files[0], files[1]

    def _made_evidence(self, json_name, data):
        """Return the pack that says the same, or None; what people uploaded under such a name is none."""
        mine = [("res_model", "=", self._name), ("res_id", "=", self.id), ("create_uid", "=", SUPERUSER_ID)]
        stem = json_name.removesuffix("json")
        found = self.env["ir.attachment"].search([*mine, ("name", "=like", f"{stem}%")], order="id desc")
        facts = found.filtered(lambda one: one.name == json_name and one.raw == data)[:1]
        documents = found.filtered(lambda one: one.name in (f"{stem}pdf", f"{stem}html"))
        return (facts, documents[:1]) if facts and documents else None

    def _attach_evidence(self, *files):
        # In the superuser's name: people's own uploads stay apart from it, and a page stays a page.
        return (
            self.env["ir.attachment"]
            .with_user(SUPERUSER_ID)
            .create(
                [
                    {"name": name, "mimetype": mimetype, "raw": raw, "res_model": self._name, "res_id": self.id}
                    for name, mimetype, raw in files
                ]
            )
        )

    def _evidence_document(self, facts, sha256):
        """Return the pack on paper: a PDF where Odoo can make one, else a page that prints well."""
        page = self._evidence_page(facts, sha256)
        report = self.env["ir.actions.report"]
        if report.get_wkhtmltopdf_state() == "ok":
            try:
                paper = report._run_wkhtmltopdf([page], specific_paperformat_args=_PAPER)
                return "pdf", "application/pdf", paper
            except UserError:
                _logger.warning("wkhtmltopdf made no PDF of the evidence of %s: it is a page.", self.name)
        return "html", "text/html", page.encode()

    def _evidence_page(self, facts, sha256):
        values = {"facts": facts, "sha256": sha256, "tail": evidence.tail, "at": evidence.shown_time}
        return f"<!DOCTYPE html>\n{self.env['ir.qweb']._render('odooops_control.evidence_page', values)}"

    # What it says

    def _evidence(self):
        """Return the facts: nothing in it depends on when or by whom it is asked."""
        return {
            "deployment": self._evidence_of_deployment(),
            "release": self._evidence_of_release(),
            "plan": {"hash": self.plan_hash or None, "plan": self.plan or None, "facts": self.plan_facts or None},
            "checks": [self._evidence_of_check(one) for one in self.check_ids.sorted("name")],
            "conditions": self._evidence_of_conditions(),
            "overrides": [self._evidence_of_override(one) for one in self.override_ids.sorted("id")],
            "policy": self._evidence_of_policy(),
            "decisions": [self._evidence_of_decision(one) for one in self.approval_ids.sorted("id")],
            "backups": [self._evidence_of_backup(role, one) for role, one in self._proving_backups()],
            "restore_sets": [self._evidence_of_restore_set(one) for one in self.restore_set_ids.sorted("id")],
            "verdict": self._evidence_of_verdict(),
            "rollbacks": [self._evidence_of_rollback(one) for one in self._rollbacks_around()],
            "timeline": self.timeline or [],
            "operations": [self._evidence_of_operation(one) for one in self.operation_ids.sorted("id")],
        }

    def _evidence_of_deployment(self):
        return {
            "id": self.id,
            "name": self.name,
            "project": self.project_id.code,
            "environment": self.environment_id.key,
            "tier": self.tier,
            "tag": self.tag,
            "asked_for_by": _person(self.requested_by_id),
            "asked_for_at": protocol.show_time(self.create_date),
            "scheduled_at": protocol.show_time(self.scheduled_at),
            "hotfix": {"reason": self.hotfix_reason, "by": _person(self.hotfix_by_id)} if self.hotfix_reason else None,
            "page": self._console_url(),
        }

    def _evidence_of_release(self):
        release = self.release_id
        return {
            "commit_sha": release.commit_sha,
            "message": release.message or "",
            "image": f"{release.image}@{release.digest}",
            "tags": sorted(release.tag_ids.mapped("name")),
            "author": _person(release.author_id),
            "registered_by": _person(release.registered_by_id),
            "risk": self.risk_tier,
        }

    def _evidence_of_check(self, check):
        return {
            "name": check.name,
            "status": check.status,
            "summary": check.summary or "",
            "reported_by": _person(check.reported_by_id),
            "reported_at": protocol.show_time(check.reported_at),
            "details": check.details or None,
        }

    def _evidence_of_conditions(self):
        """Return the checklist: as it was when the deployment began, as it is before that."""
        if self.is_undecided:
            return [one.as_dict() for one in self._conditions()]
        return self.conditions_kept or []

    def _evidence_of_override(self, override):
        return {
            "key": override.key,
            "label": dict(override._fields["key"]._description_selection(self.env))[override.key],
            "reason": override.reason,
            "by": _person(override.user_id),
            "at": protocol.show_time(override.create_date),
            "policy": override.policy_reference or None,
        }

    def _evidence_of_policy(self):
        kept = self.rules_kept or {}
        groups = self.env["res.groups"].browse([*kept.get("group_ids", ()), *kept.get("second_group_ids", ())])
        return {
            "name": self.policy_id.name or None,
            "version": self.policy_reference or None,
            "asked": {name: value for name, value in kept.items() if not name.endswith("_ids")},
            "groups": groups.exists().mapped("full_name"),
        }

    def _evidence_of_decision(self, approval):
        return {
            "by": _person(approval.user_id),
            "decision": approval.decision,
            "plan_hash": approval.plan_hash,
            "current": approval._is_current(),
            "note": approval.note or "",
            "at": protocol.show_time(approval.create_date),
        }

    def _proving_backups(self):
        """Return the newest backup from before it began, and the newest of them that was restored in a test."""
        began = self.started_at or self.ended_at or fields.Datetime.now()
        there = self.environment_id.backup_ids.filtered(
            lambda one: one.snapshot and one.taken_at and one.taken_at <= began
        ).sorted("taken_at")
        proven = there.filtered(lambda one: one.test_state == "proven")
        return [("newest", one) for one in there[-1:]] + [("proven", one) for one in (proven - there[-1:])[-1:]]

    def _evidence_of_backup(self, role, backup):
        return {
            "role": role,
            "repository": backup.repository_id.name,
            "snapshot": backup.snapshot,
            "state": backup.state,
            "data_up_to": protocol.show_time(backup.taken_at),
            "taken_for_this": backup.deployment_id == self,
            "image_digest": backup.digest or None,
            "database_uuid": backup.database_uuid or None,
            "dump_sha256": backup.checksum or None,
            "database_bytes": int(backup.database_bytes),
            "filestore_bytes": int(backup.filestore_bytes),
            "restore_test": {
                "state": backup.test_state,
                "at": protocol.show_time(backup.tested_at),
                "recovery_seconds": backup.recovery_seconds,
                "checks": backup.test_checks or [],
            },
        }

    def _evidence_of_restore_set(self, restore_set):
        return {
            "state": restore_set.state,
            "restorable": restore_set.restorable,
            "reason": restore_set.not_restorable_reason or None,
            "tag": restore_set.tag or None,
            "image_digest": restore_set.from_digest or None,
            "database_snapshot": restore_set.database_snapshot or None,
            "filestore_snapshot": restore_set.filestore_snapshot or None,
            "taken_at": protocol.show_time(restore_set.taken_at),
        }

    def _evidence_of_verdict(self):
        ended = self.operation_ids.filtered(lambda one: one.kind == "deploy" and one.result).sorted("id")[-1:]
        result = ended.result or {}
        return {
            "state": self.state,
            "label": self._label(),
            "agent_reported": {name: result.get(name) for name in _REPORTED} if result else None,
            "started_at": protocol.show_time(self.started_at),
            "watched_until": protocol.show_time(self.soak_until),
            "live_at": protocol.show_time(self.live_at),
            "replaced_at": protocol.show_time(self.replaced_at),
            "ended_at": protocol.show_time(self.ended_at),
            "held_seconds": self.held_seconds,
            "update_seconds": self.update_seconds,
            "undone_by_itself": self.reverted,
            "failure": self._status_error(),
        }

    def _rollbacks_around(self):
        """Return the rollbacks that left this deployment, or came back to it."""
        at = ("environment_id", "=", self.environment_id.id)
        about = ["|", ("left_id", "=", self.id), ("target_id", "=", self.id)]
        return self.env["odooops.rollback.request"].search([at, *about], order="id")

    def _evidence_of_rollback(self, rollback):
        return {
            "id": rollback.id,
            "leaves_this": rollback.left_id == self,
            "to": rollback.tag,
            "reason": rollback.reason,
            "state": rollback.state,
            "brings_back": rollback.mode or None,
            "preview_hash": rollback.preview_hash or None,
            "asked_for_by": _person(rollback.requested_by_id),
            "decisions": [self._evidence_of_decision(one) for one in rollback.approval_ids.sorted("id")],
            "glass_broken": self._evidence_of_glass(rollback),
            "held_seconds": rollback.held_seconds,
            "lost": rollback.lost or None,
            "ended_at": protocol.show_time(rollback.ended_at),
        }

    def _evidence_of_glass(self, rollback):
        if not rollback.break_glass:
            return None
        return {
            "by": _person(rollback.break_glass_by_id),
            "reason": rollback.break_glass_reason,
            "reviewed_by": _person(rollback.reviewed_by_id),
            "review": rollback.review_note or None,
        }

    def _evidence_of_operation(self, operation):
        """Return what the agent did, with its log: lines of tries that did not get far are part of it."""
        return {
            "id": operation.id,
            "kind": operation.kind,
            "state": operation.state,
            "agent": operation.agent_id.name,
            "attempt": operation.attempt,
            "queued_at": protocol.show_time(operation.queued_at),
            "finished_at": protocol.show_time(operation.finished_at),
            "error": {"code": operation.error_code, "message": operation.error_message}
            if operation.error_code
            else None,
            "steps": [
                {"name": one.name, "state": one.state, "seconds": one.seconds, "detail": one.detail or ""}
                for one in operation.step_ids.sorted(lambda one: (one.token, one.seq))
            ],
            "log": [
                one["text"] or ""
                for one in operation.log_ids.search_read(
                    [("operation_id", "=", operation.id)], ["text"], order="token, seq"
                )
            ],
        }


def _person(user):
    """Return who it was, as it can be told years later; None for nobody."""
    return {"name": user.name, "login": user.login} if user else None
