import inspect

from odoo import models
from odoo.exceptions import AccessError
from odoo.service.model import get_public_method
from odoo.tests import tagged
from odoo.tests.common import TransactionCase

ALLOWED = {
    "odooops.agent": {"action_regenerate_key", "action_revoke_keys"},
    "odooops.agent.enrol": {"action_enrol"},
    "odooops.approval.wizard": {"action_approve", "action_reject"},
    "odooops.audit.event": {"action_export", "action_verify", "export", "verify"},
    "odooops.backup": {"action_download", "action_restore", "action_test"},
    "odooops.backup.download": {"action_make_link"},
    "odooops.backup.repository": {"action_make_recovery_key"},
    "odooops.ci.access": {"action_create_key"},
    "odooops.check.run": {"report"},
    "odooops.decision.mixin": {"action_open_review", "action_review"},
    "odooops.deploy.wizard": {"action_request"},
    "odooops.deployment": {
        "action_approve",
        "action_break_glass",
        "action_cancel",
        "action_deploy_again",
        "action_evidence",
        "action_hotfix",
        "action_open_approval",
        "action_open_glass",
        "action_open_hotfix",
        "action_open_override",
        "action_open_review",
        "action_open_schedule",
        "action_override",
        "action_plan_again",
        "action_reject",
        "action_request_approval",
        "action_review",
        "action_roll_back",
        "action_schedule",
        "evidence",
        "request",
        "status",
    },
    "odooops.environment": {
        "action_back_up",
        "action_check_restore_sets",
        "action_clone",
        "action_deploy",
        "action_export_changes",
        "action_inspect",
        "action_mark_repaired",
        "action_import",
        "action_open_backups",
        "action_open_caught_mails",
        "action_open_clones",
        "action_open_deployments",
        "action_open_operations",
        "action_open_rollbacks",
        "action_open_url",
        "action_roll_back",
        "clone",
        "status",
    },
    "odooops.clone": {"action_cancel", "action_go"},
    "odooops.clone.wizard": {"action_clone", "action_export", "action_look_again"},
    "odooops.event": {"action_replay"},
    "odooops.github.call": {"action_send_again"},
    "odooops.import.wizard": {"action_import"},
    "odooops.quarantine": {"action_lift", "action_link_fix", "action_open_lift", "action_open_link_fix"},
    "odooops.glass.wizard": {"action_break_glass"},
    "odooops.hotfix.wizard": {"action_hotfix"},
    "odooops.override.wizard": {"action_override"},
    "odooops.quarantine.wizard": {"action_confirm"},
    "odooops.rollback.decision.wizard": {"action_approve", "action_break_glass", "action_reject"},
    "odooops.rollback.request": {
        "action_approve",
        "action_break_glass",
        "action_cancel",
        "action_choose_mode",
        "action_open_decision",
        "action_open_review",
        "action_preview_again",
        "action_reject",
        "action_review",
        "action_take_backup",
        "action_take_code",
        "action_take_full",
        "status",
        "submit",
    },
    "odooops.rollback.review.wizard": {"action_review"},
    "odooops.rollback.wizard": {"action_request"},
    "odooops.schedule.wizard": {"action_schedule"},
    "odooops.project": {"action_open_environments", "action_open_releases"},
    "odooops.restore.wizard": {"action_restore"},
    "odooops.release": {"checked", "register"},
}


@tagged("post_install", "-at_install")
class TestPublicMethods(TransactionCase):
    """Every public method is reachable with an API key: only what is meant to be may be public."""

    def _own_public_methods(self, model_class):
        inherited = set(dir(models.BaseModel))
        for parent in self.env.registry.values():
            if not parent._name.startswith("odooops.") and issubclass(model_class, parent):
                inherited |= set(dir(parent))
        for name, method in inspect.getmembers(model_class, inspect.isroutine):
            private = name.startswith("_") or getattr(method, "_api_private", False)
            if not private and name not in inherited and name != "init":
                yield name

    def _mail_mixins(self, names):
        mixins = ("mail.thread", "mail.activity.mixin", "bus.listener.mixin")
        known = {name for mixin in mixins for name in dir(self.env.registry[mixin])}
        return {name for name in names if name not in known}

    def test_only_what_is_allowed_is_public(self):
        for name, model_class in self.env.registry.items():
            if name.startswith("odooops."):
                with self.subTest(model=name):
                    found = self._mail_mixins(self._own_public_methods(model_class))
                    self.assertEqual(found, ALLOWED.get(name, set()))

    def test_methods_for_ci_take_named_arguments(self):
        for model, method, arguments in (
            (
                "odooops.check.run",
                "report",
                ["project", "commit_sha", "name", "status", "summary", "details"],
            ),
            (
                "odooops.release",
                "register",
                ["project", "ref", "commit_sha", "image", "manifest", "checks", "ancestors"],
            ),
            ("odooops.release", "checked", ["project"]),
            ("odooops.deployment", "request", ["environment", "ref", "commit_sha", "force"]),
            ("odooops.deployment", "status", ["id"]),
            ("odooops.deployment", "evidence", ["id", "document"]),
            ("odooops.environment", "status", ["environment"]),
            ("odooops.environment", "clone", ["environment", "source"]),
            ("odooops.rollback.request", "submit", ["environment", "previous_tag", "reason"]),
            ("odooops.rollback.request", "status", ["id"]),
        ):
            function = getattr(self.env.registry[model], method)
            self.assertTrue(function._api_model)
            self.assertEqual(list(inspect.signature(function).parameters)[1:], arguments)

    def test_init_needs_no_caller(self):
        """``init`` is Odoo's own hook and stays out of reach although it has no underscore."""
        for name in ("odooops.environment", "odooops.release", "odooops.audit.event"):
            with self.subTest(model=name), self.assertRaises(AccessError):
                get_public_method(self.env[name], "init")
