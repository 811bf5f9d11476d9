from odoo import fields, models

from ..core import redact, rollback

_MAX_PREVIEWS = 5
_TAIL = 40
# The way that was chosen is not open any more, and nothing was changed: another look says what is.
_LOOK_AGAIN = frozenset(("plan_changed", "mode_impossible", "set_gone", "image_gone"))


class OdooopsRollbackRequest(models.Model):
    _inherit = "odooops.rollback.request"

    # What the agent gets

    def _operation_payload(self, operation):
        """Return what an operation for this rollback says beside the usual: a preview has no mode yet."""
        self.ensure_one()
        executed = operation.kind == "rollback"
        mode = self.mode if executed else None
        restore_set = self.restore_set_id if mode in (None, "full") else self.restore_set_id.browse()
        return {
            "release": self.target_release_id._agent_payload(self.tag),
            "plan_hash": self.plan_hash if executed else None,
            "rollback": {
                "request": self.id,
                "mode": mode,
                "restore_set": restore_set._agent_payload() if restore_set else None,
                "backup": self._backup_payload() or None if mode in (None, "backup") else None,
                "ceiling": self.ceiling or None if executed else None,
                "break_glass": executed and self._is_glass_broken(),
            },
        }

    def _backup_payload(self):
        """Return the off-host backup of the target's time, empty without one; backups themselves fill this in."""
        return {}

    # What the agent reports

    def _on_operation_leased(self, operation):
        """The agent began."""
        if operation.kind == "rollback":
            self._update_state("running", started_at=self.started_at or fields.Datetime.now())

    def _on_operation_requeued(self, operation):
        """The agent fell silent at work: another try waits for it."""
        if operation.kind == "rollback":
            self._update_state("queued")
        self._say(self.env._("The agent fell silent; attempt %s waits for it.", operation.attempt + 1))

    def _on_operation_ended(self, operation, result, failure):
        """Follow the agent's outcome.

        :param dict result: what the agent measured
        :param failure: a ``core.protocol.Failure`` or None
        """
        handler = {
            ("plan", "succeeded"): self._on_previewed,
            ("rollback", "succeeded"): self._on_rolled_back,
        }.get((operation.kind, operation.state))
        if handler:
            handler(operation, result)
        else:
            self._on_not_succeeded(operation, result, failure)

    def _on_previewed(self, operation, result):
        if self.state != "previewing":
            return
        try:
            preview = rollback.checked_preview(result, self._expected())
        except rollback.BadPreview as error:
            self._fail("bad_preview", str(error))
            return
        self._adopt(preview)

    def _expected(self):
        environment = self.environment_id
        return rollback.Expected(
            environment=environment.key,
            digest=self.target_release_id.digest,
            database_uuid=environment.database_uuid or None,
        )

    def _adopt(self, preview):
        """Show a preview and ask for its approval, or go on where none is needed."""
        self.write({"preview": preview, "preview_at": fields.Datetime.now()})
        if preview["database_bytes"]:
            self.environment_id.database_bytes = preview["database_bytes"]
        if self.left_id.release_id == self.target_release_id:
            self._fail("runs_already", self.env._("%s runs by now: there is nothing to go back to.", self.tag))
            return
        possible = rollback.possible_modes(preview)
        if not possible:
            self._fail(rollback.FIX_FORWARD, self._sentence_of_no_way(preview))
            return
        self._take_mode(self.mode if self.mode in possible else preview["recommended"])
        self._say(self._sentence_of_preview())
        self._ask_or_go()

    def _sentence_of_no_way(self, preview):
        reasons = [one["reason"] for one in preview["modes"] if one["reason"] and one["mode"] != rollback.FIX_FORWARD]
        return self.env._(
            "There is no way back to %(tag)s: %(reasons)s Mend the release and deploy it.",
            tag=self.tag,
            reasons=" ".join(reasons) or self.env._("the agent gives no reason."),
        )

    def _sentence_of_preview(self):
        label = dict(self._fields["mode"]._description_selection(self.env))[self.mode]
        if self.mode == "code":
            return self.env._("%(mode)s: nothing is lost.", mode=label)
        return self.env._(
            "%(mode)s: %(minutes)s minutes of work would be lost, %(records)s records created or changed, "
            "%(posted)s of them posted.",
            mode=label,
            minutes=round(self.minutes_lost),
            records=self.records_lost,
            posted=self.posted_lost,
        )

    def _fail(self, code, sentence):
        moved = self._update_state("failed", failure_code=code, failure_message=sentence)
        moved._say(sentence)
        for request in moved:
            request._notify_failed(sentence)

    def _notify_failed(self, sentence):
        self.project_id._notify_release_managers(
            self, self.env._("%(name)s: %(state)s", name=self.name, state=self._label()), sentence
        )

    def _on_rolled_back(self, operation, result):
        if sentence := self._result_refusal(result):
            self._on_unproven(operation, result, sentence)
            return
        self._record_restore_set(operation, result)
        self._measured(result)
        self._use_restore_set()
        self._turn_the_ledger_back()
        self.environment_id._on_agent_result(result)
        self.environment_id.indeterminate = False
        if result.get("database_uuid") and result["database_uuid"] == self._identity_of_target():
            self.environment_id.database_uuid = result["database_uuid"]
        self.lost = rollback.checked_loss(result.get("lost")) or False
        self._update_state("done")
        self.env["odooops.restore.set"]._apply_policy(self.environment_id)
        self.env["odooops.quarantine"]._bar(self)

    def _turn_the_ledger_back(self):
        """Let the target be what runs, and what ran be rolled back."""
        now = fields.Datetime.now()
        left, target, environment = self.environment_id.running_deployment_id, self.target_id, self.environment_id
        left._update_state("rolled_back")
        left._say(self.env._("Rolled back to %(tag)s: %(reason)s", tag=self.tag, reason=self.reason))
        target._update_state("live", live_at=now, replaced_at=False, soak_until=False)
        target._say(self.env._("Live again: %s was rolled back.", left.tag))
        environment.running_deployment_id = target
        environment.message_post(
            body=self.env._(
                "%(left)s was rolled back to %(tag)s: %(reason)s", left=left.tag, tag=self.tag, reason=self.reason
            )
        )

    def _use_restore_set(self):
        """Note that the target's set became the live database: it can't be put back a second time."""
        if self.mode == "full" and self.restore_set_id:
            self.restore_set_id.state = "used"

    def _result_refusal(self, result):
        """Return why what the agent did is not what was to be done, or None."""
        environment = self.environment_id
        wanted = (self.target_release_id.digest, self.plan_hash, self.mode)
        if (result.get("digest"), result.get("plan_hash"), result.get("mode")) != wanted:
            return self.env._(
                "The agent reports another image or way back than was decided on: find out what %s runs.",
                environment.key,
            )
        # An agent that could not read the identity just then says none.
        known, seen = environment.database_uuid, result.get("database_uuid")
        if known and seen and seen != known and seen != self._identity_of_target():
            return self.env._("The database of %s is not the one it had: find out why first.", environment.key)
        return None

    def _identity_of_target(self):
        """Return the identity of what is put back: before or after a copy it is not the one that is there now."""
        kept = {"full": self.restore_set_id, "backup": self.backup_id}.get(self.mode)
        return kept.database_uuid if kept and self.tier != "production" else None

    def _on_unproven(self, operation, result, sentence):
        """Stop everything here: the agent's own report contradicts what it was told."""
        self._record_restore_set(operation, result)
        self._measured(result)
        self.environment_id._on_agent_result(result)
        self.environment_id.indeterminate = True
        self._update_state("indeterminate", failure_code="wrong_result", failure_message=sentence)
        self._say(sentence)
        self._notify_failed(sentence)

    def _measured(self, result):
        if isinstance(result.get("held_seconds"), int | float):
            self.held_seconds = float(result["held_seconds"])

    def _record_restore_set(self, operation, result):
        """Keep the state that was given up, so that the rollback can itself be rolled back."""
        reported = result.get("restore_set")
        if isinstance(reported, dict):
            self.env["odooops.restore.set"]._record(self, operation, reported)

    def _on_not_succeeded(self, operation, result, failure):
        if operation.kind == "plan":
            self._on_not_previewed(operation, failure)
            return
        self._record_restore_set(operation, result)
        self._measured(result)
        if result:
            self.environment_id._on_agent_result(result)
        if result.get("reverted"):
            self.environment_id.indeterminate = False
        elif operation.state == "indeterminate":
            # Also when the rollback was over for us: nothing else may begin here.
            self.environment_id.indeterminate = True
        if operation.state == "failed" and failure and self._asks_again(result, failure):
            return
        self._end_without_success(operation, result, failure)

    def _on_not_previewed(self, operation, failure):
        if self.state != "previewing":
            return
        if operation.state == "cancelled":
            self._update_state("cancelled")
            return
        self._fail(
            redact.masked(failure.code, 64) if failure else operation.state,
            redact.masked(failure.message, 1000) if failure else self.env._("The agent could not look."),
        )

    def _asks_again(self, result, failure):
        """Begin anew with what is true by now, where nothing was changed; return whether it did."""
        if self.preview_count >= _MAX_PREVIEWS:
            return False
        message = redact.masked(failure.message, 1000)
        if failure.code == "loss_above_ceiling":
            self._ask_with_fresh_preview(result.get("preview"), message)
            return True
        if failure.code not in _LOOK_AGAIN:
            return False
        if failure.code == "set_gone":
            self.restore_set_id._found_gone(message)
        self._preview_again(message)
        return True

    def _ask_with_fresh_preview(self, result, message):
        """Ask again with what the agent counted when nobody could write: more was lost than was agreed to."""
        try:
            preview = rollback.checked_preview(result, self._expected())
        except rollback.BadPreview:
            self._preview_again(message)
            return
        if moved := self._update_state("previewing", preview_count=self.preview_count + 1, ceiling=False):
            moved._say(message)
            moved._adopt(preview)

    def _end_without_success(self, operation, result, failure):
        target = operation.state if operation.state in ("cancelled", "indeterminate") else "failed"
        tail = [redact.masked(line) for line in (failure.log_tail if failure else ())] or operation._last_lines(_TAIL)
        moved = self._update_state(
            target,
            failure_code=redact.masked(failure.code, 64) if failure else operation.state,
            failure_step=redact.masked(failure.step, 64) if failure else False,
            failure_message=redact.masked(failure.message, 1000) if failure else False,
            log_tail="\n".join(tail),
            reverted=bool(result.get("reverted")),
        )
        if not moved and target != "indeterminate":
            return
        message = self.failure_message or self.env._("The operation ended: %s.", target)
        self._say(message, tail)
        if target != "cancelled":
            self._notify_failed(message)
