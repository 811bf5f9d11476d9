import base64
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

from nacl.public import PrivateKey
from psycopg2 import IntegrityError

from odoo import fields
from odoo.exceptions import AccessError, MissingError, UserError, ValidationError
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from ..models.mixins import Conflict
from .common import DIGEST_A, DIGEST_B, DIGEST_C, SHA_B, OdooopsCase, fixture

COPY_UUID = "c3a94b1e-0d57-4f6b-a6d1-54e5e1f3a9d2"
STAGE_UUID = "9d1e7c52-8f3b-11f0-9d4e-0242ac120002"
RULES = """
cron_allowlist: [base.autovacuum_job]
keep_parameters: [workshop.opening_hours]
network_allowlist: ["pypi.example.com:443"]
rules:
  - name: workshop_gateway
    reason: The workshop's gateway would text real customers.
    modules: [workshop]
    sql: UPDATE workshop_gateway SET token = NULL, active = false
    unsafe: SELECT 'gateway ' || id FROM workshop_gateway WHERE active OR token IS NOT NULL
"""


class CloneCase(OdooopsCase):
    """Production runs v1.0.0 and has left a restore set; staging is a release further."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.v1 = cls._live_on_prod().release_id
        cls.prod.database_uuid = "0c2d3c1e-8f3a-11f0-9d4e-0242ac120002"
        cls.stage.database_uuid = STAGE_UUID
        cls.kept = cls._kept_set(cls.prod)

    @classmethod
    def _kept_set(cls, environment, token=17, hours=2, digest=DIGEST_A):
        deployment = environment.running_deployment_id
        return cls.env["odooops.restore.set"].create(
            {
                "deployment_id": deployment.id,
                "operation_id": deployment.operation_ids[:1].id,
                "token": token,
                "from_digest": digest,
                "config_hash": "c" * 64,
                "database_snapshot": f"{environment.database_name}__s{token}",
                "filestore_snapshot": f"snapshots/{token}/filestore",
                "module_versions": {"base": "19.0.1.3"},
                "database_uuid": environment.database_uuid,
                "taken_at": fields.Datetime.now() - timedelta(hours=hours),
            }
        )

    @classmethod
    def _stage_goes_on(cls, sha=SHA_B, digest=DIGEST_B):
        """Bring another release to staging alone."""
        cls._register(sha=sha, digest=digest)
        deployment = cls.stage._active_deployments()
        cls._plan(deployment)
        cls._deploy(deployment)
        return deployment

    def _work(self, kind, result=None, outcome="succeeded", error=None):
        operation = self._lease((kind,))
        self.assertTrue(operation, f"no {kind} is queued")
        self._finish(operation, outcome=outcome, result=result or {}, error=error)
        return operation

    def _listed(self, **values):
        return self._work("inspect", {**fixture("finish_request_inspect")["result"], "changes": [], **values})

    def _result(self, one, **values):
        result = fixture("finish_request_clone")["result"]
        return {**result, "digest": one.release_id.digest, "database_uuid": COPY_UUID, **values}

    def _start(self, **how):
        one, _is_new = self.env["odooops.clone"]._start(self.stage, "button", **{"discard": True, **how})
        return one

    def _cloned(self, **values):
        one = self._start()
        self._work("clone", self._result(one, **values))
        return one

    def _activities(self, environment=None):
        return sorted(set((environment or self.stage).activity_ids.mapped("summary")))


@tagged("post_install", "-at_install")
class TestClone(CloneCase):
    """Staging becomes a safe copy of production, and never the other way round."""

    def test_the_operation_travels_as_in_the_fixture(self):
        self.project.copy_rules = RULES
        self._start()
        operation = self._lease(("clone",))
        self.assertTrue(operation.exclusive and operation.heavy)
        payload = operation._payload()
        expected = fixture("lease_response_clone")["operation"]
        self.assertEqual(payload.keys(), expected.keys())
        self.assertEqual(payload["clone"]["rules"], expected["clone"]["rules"])
        source = payload["clone"]["source"]
        self.assertEqual(source.keys(), expected["clone"]["source"].keys())
        self.assertEqual(source["restore_set"].keys(), expected["clone"]["source"]["restore_set"].keys())
        self.assertEqual(
            (source["environment"], source["tier"], source["database"]), ("demo/prod", "production", "demo_prod")
        )
        self.assertEqual(source["restore_set"]["database_snapshot"], "demo_prod__s17")
        self.assertEqual((payload["environment"]["key"], payload["release"]["digest"]), ("demo/stage", DIGEST_A))
        self.assertEqual(payload["clone"]["data_as_of"], source["restore_set"]["taken_at"])

    def test_a_copy_takes_staging_s_place(self):
        one = self._cloned()
        self.assertEqual((one.state, one.seconds, one.held_seconds), ("done", 7.4, 3.1))
        self.assertEqual(self.stage.database_uuid, COPY_UUID)
        self.assertEqual(self.stage.copy_id, one)
        self.assertEqual(self.stage.data_as_of, self.kept.taken_at)
        self.assertIn("demo/prod", self.stage.copy_banner)
        self.assertIn("2 hours old", self.stage.copy_banner)
        self.assertEqual(self.stage.copy_checks_html.count("fa-check-circle"), 5)
        self.assertEqual(self.prod.database_uuid, "0c2d3c1e-8f3a-11f0-9d4e-0242ac120002")
        self.assertFalse(self.prod.copy_id)
        left = self.stage.restore_set_ids.sorted("id")[-1:]
        self.assertEqual((left.database_snapshot, left.database_uuid), ("demo_stage__s23", STAGE_UUID))
        self.assertFalse(self._lease(("plan",)), "staging ran the same release: nothing is deployed anew")

    def test_staging_s_own_release_follows_by_itself(self):
        before = self._stage_goes_on()
        one = self._cloned()
        self.assertEqual(self.stage.running_release_id, self.v1, "the data's release runs first")
        deployment = self.stage.active_deployment_id
        self.assertEqual((deployment.release_id, deployment.copy_id), (before.release_id, one))
        self.stage.refresh_mode = "rebuild"
        self._plan(deployment)
        self._deploy(deployment)
        self.assertEqual((deployment.state, before.state), ("live", "superseded"))
        self.assertEqual((self.stage.database_uuid, self.stage.copy_id), (COPY_UUID, one))

    def test_what_was_there_is_kept_though_the_ledger_does_not_know_it(self):
        self.stage.running_deployment_id = False
        self._cloned()
        left = self.stage.restore_set_ids
        self.assertEqual((left.database_snapshot, left.database_uuid), ("demo_stage__s23", STAGE_UUID))
        self.assertFalse(left.deployment_id)

    def test_the_agent_s_new_identity_is_no_alarm(self):
        self.stage.running_digest = DIGEST_A
        one = self._start()
        operation = self._lease(("clone",))
        self.assertFalse(self.stage._identity_refusal(COPY_UUID))
        self._finish(operation, result=self._result(one))
        self.assertFalse(self.stage._identity_refusal(COPY_UUID))
        self.assertTrue(self.stage._identity_refusal(STAGE_UUID))

    def test_what_is_not_proven_stays_as_it_was(self):
        before = self.stage.read(["database_uuid", "running_deployment_id", "indeterminate", "copy_id"])
        one = self._start()
        message = fixture("finish_request_clone_not_safe")
        result = {**message["result"], "digest": DIGEST_A}
        self._work("clone", result, "failed", message["error"])
        self.assertEqual((one.state, one.error_code), ("failed", "not_proven_safe"))
        self.assertIn("gateway 4", one.error_message)
        self.assertIn("fa-times-circle", one.checks_html)
        self.assertEqual(
            self.stage.read(["database_uuid", "running_deployment_id", "indeterminate", "copy_id"]), before
        )
        self.assertIn("demo/stage was not copied", self._activities())

    def test_an_agent_that_proves_nothing_is_not_believed(self):
        for values in (
            {"neutralised": []},
            {"neutralised": [{"name": "mail", "ok": False}]},
            {"digest": DIGEST_C},
            {"database_uuid": None},
            {"database_uuid": self.prod.database_uuid},
        ):
            with self.subTest(**values):
                self.stage.indeterminate = False
                one = self._cloned(**values)
                self.assertEqual(one.state, "failed")
                self.assertTrue(self.stage.indeterminate)
                self.assertEqual(self.stage.database_uuid, STAGE_UUID)

    def test_a_copy_in_doubt_closes_the_environment(self):
        one = self._start()
        error = {"code": "undo_failed", "step": "swap_database_back", "message": "No."}
        self._work("clone", {"reverted": False}, "indeterminate", error)
        self.assertTrue(self.stage.indeterminate)
        self.assertEqual(one.state, "failed")
        with self.assertRaisesRegex(UserError, "needs repair"):
            self._start()

    def test_a_source_that_is_gone_is_not_chosen_again(self):
        self._start()
        error = {"code": "source_gone", "step": "check_source", "message": "demo_prod__s17 is gone."}
        self._work("clone", {"reverted": True}, "failed", error)
        self.assertFalse(self.kept.protected)
        with self.assertRaisesRegex(UserError, "neither a restore set nor a backup"):
            self._start()

    def test_a_set_that_went_while_it_waited(self):
        one = self._start()
        self.kept.state = "dropped"
        self.assertFalse(self._lease(("clone",)))
        self.assertEqual((one.state, one.operation_ids.state), ("failed", "cancelled"))
        self.assertIn("clone again", one.error_message)

    def test_the_set_that_a_copy_waits_for_is_not_pruned(self):
        self.prod.write({"restore_sets_keep": 1, "restore_set_hours": 0})
        one = self._start()
        newer = self._kept_set(self.prod, token=18, hours=1)
        self.assertEqual(self.prod._options_payload()["restore_sets"]["wanted"], [17])
        self.env["odooops.restore.set"]._apply_policy(self.prod)
        self.assertEqual((self.kept.state, newer.state), ("kept", "kept"))
        one.with_user(self.manager).action_cancel()
        self.assertEqual(self.prod._options_payload()["restore_sets"]["wanted"], [])
        self.env["odooops.restore.set"]._apply_policy(self.prod)
        self.assertEqual((self.kept.state, newer.state), ("dropped", "kept"))

    def test_a_silent_agent_s_copy_is_tried_again(self):
        one = self._start()
        operation = self._lease(("clone",))
        self.assertEqual(one.state, "running")
        operation.lease_until = fields.Datetime.now() - timedelta(seconds=1)
        self.env["odooops.operation"]._expire_leases()
        self.assertEqual(one.state, "queued")

    def test_one_at_a_time(self):
        one = self._start()
        self.assertEqual(self._start(), one)
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.env.cr.savepoint():
            one.copy({"state": "queued", "tier": "staging", "source_id": self.prod.id, "environment_id": self.stage.id,
                      "release_id": self.v1.id, "data_as_of": one.data_as_of, "reason": "ci"})  # fmt: skip
        with self.assertRaisesRegex(UserError, "being worked on"):
            self.stage.active = False
        one.operation_ids.state = "cancelled"
        one.state = "waiting"
        with self.assertRaisesRegex(UserError, "becoming a copy"):
            self.stage.active = False

    def test_cancelled_before_it_began(self):
        one = self._start()
        one.with_user(self.developer).action_cancel()
        self.assertEqual(one.state, "cancelled")
        self.assertFalse(self._lease(("clone",)))
        with self.assertRaisesRegex(UserError, "is over"):
            one.with_user(self.developer).action_cancel()

    # What it is made of

    def _backup(self, hours=1, **values):
        self.agent.sudo().sealing_public_key = base64.b64encode(bytes(PrivateKey.generate().public_key)).decode()
        repository = self.env["odooops.backup.repository"].create(
            {"name": "Disk", "agent_id": self.agent.id, "url": "/srv/odooops-backups/demo"}
        )
        return self.env["odooops.backup"].create(
            {
                "environment_id": self.prod.id,
                "repository_id": repository.id,
                "reason": "schedule",
                "state": "kept",
                "snapshot": "6f2c" * 16,
                "digest": DIGEST_A,
                "database_uuid": self.prod.database_uuid,
                "taken_at": fields.Datetime.now() - timedelta(hours=hours),
                **values,
            }
        )

    def test_the_newest_is_taken_be_it_a_backup(self):
        backup = self._backup()
        one = self._start(obfuscate=True)
        self.assertEqual((one.backup_id, one.restore_set_id), (backup, self.env["odooops.restore.set"]))
        payload = self._lease(("clone",))._payload()
        expected = fixture("lease_response_clone_backup")["operation"]
        self.assertEqual(payload.keys(), expected.keys())
        self.assertEqual(payload["backup"].keys(), expected["backup"].keys())
        self.assertEqual(payload["backup"]["source"], expected["backup"]["source"])
        self.assertIsNone(payload["clone"]["source"]["restore_set"])
        self.assertEqual(payload["clone"]["rules"], expected["clone"]["rules"])

    def test_an_older_backup_is_not(self):
        self._backup(hours=30)
        self.assertEqual(self._start().restore_set_id, self.kept)

    def test_a_backup_that_the_droplet_can_t_open_is_not(self):
        backup = self._backup()
        backup.repository_id.sudo().sealed_for = "another droplet's key"
        backup.repository_id.invalidate_recordset(["is_sealed"])
        self.assertEqual(self._start().restore_set_id, self.kept)

    def test_restore_sets_stay_in_their_cluster(self):
        other, _key = self.env["odooops.agent"]._enrol("droplet-2")
        self.stage.agent_id = other
        with self.assertRaisesRegex(UserError, "neither a restore set nor a backup of demo/prod"):
            self._start()

    def test_an_environment_may_begin_as_a_copy(self):
        preview = self.env["odooops.environment"].create(
            {"project_id": self.project.id, "code": "pr-7", "agent_id": self.agent.id, "refresh_mode": "rebuild"}
        )
        deployment, _is_new = self.env["odooops.deployment"]._request(preview, self.v1, self.v1.name)
        one = deployment.copy_id
        self.assertEqual((one.state, deployment.state), ("queued", "draft"), "there is nothing to list")
        self._work("clone", self._result(one, restore_set=None))
        self.assertEqual((preview.database_uuid, preview.copy_id), (COPY_UUID, one))
        self._plan(deployment)
        self.assertEqual(self._deploy(deployment).state, "live")

    def test_an_agent_that_is_too_old(self):
        self.agent.sudo().capabilities = ["plan", "deploy"]
        with self.assertRaisesRegex(UserError, "can't make copies"):
            self._start()

    # The direction

    def test_production_is_never_overwritten(self):
        Clone = self.env["odooops.clone"]
        with self.assertRaisesRegex(UserError, "never overwritten"):
            Clone._start(self.prod, "button", self.stage)
        with self.assertRaisesRegex(UserError, "never overwritten"):
            self.env["odooops.environment"].with_user(self.ci).clone("demo/prod", "demo/stage")
        values = {"environment_id": self.prod.id, "source_id": self.stage.id, "release_id": self.v1.id, "reason": "ci",
                  "data_as_of": "2026-01-01", "state": "queued"}  # fmt: skip
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.env.cr.savepoint():
            Clone.create(values)
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.env.cr.savepoint():
            one = Clone.create({**values, "environment_id": self.stage.id, "source_id": self.prod.id})
            self.env.cr.execute("UPDATE odooops_clone SET tier = 'production' WHERE id = %s", [one.id])
        with self.assertRaisesRegex(ValidationError, "never overwritten"):
            self.prod.clone_source_id = self.stage
        for vals in ({"clone_schedule": "daily"}, {"refresh_mode": "rebuild"}):
            with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.env.cr.savepoint():
                self.prod.write(vals)
                self.prod.flush_recordset()

    def test_a_queued_copy_is_looked_at_again_before_it_runs(self):
        one = self._start()
        with self._tier(self.stage, "production"):
            self.assertIn("never overwritten", one._run_refusal())

    @contextmanager
    def _tier(self, environment, tier):
        with patch.object(type(environment), "_direction_refusal", lambda self, source: "never overwritten"):
            yield

    def test_other_projects_stay_apart(self):
        other = self._make_project("other")
        [foreign, _prod] = self._make_environments(other, self.agent)
        with self.assertRaisesRegex(UserError, "stay in their project"):
            self.env["odooops.clone"]._start(self.stage, "button", foreign)
        with self.assertRaisesRegex(UserError, "copy of itself"):
            self.env["odooops.clone"]._start(self.stage, "button", self.stage)

    # CI

    def _clone_ci(self, user=None, **arguments):
        return (
            self.env["odooops.environment"]
            .with_user(user or self.ci)
            .clone(**{"environment": "demo/stage", **arguments})
        )

    def test_ci_clones(self):
        answer = self._clone_ci(source="demo/prod")
        self.assertEqual((answer["state"], answer["new"], answer["made_of"]), ("inspecting", True, "restore_set"))
        self.assertFalse(self._clone_ci()["new"], "the same call again is the same copy")
        self._listed()
        status = self.env["odooops.environment"].with_user(self.ci).status("demo/stage")
        self.assertEqual((status["cloning"]["id"], status["cloning"]["state"]), (answer["id"], "queued"))
        one = self.env["odooops.clone"].browse(answer["id"])
        self.assertEqual(one.requested_by_id, self.ci)
        self._work("clone", self._result(one))
        status = self.env["odooops.environment"].with_user(self.ci).status("demo/stage")
        self.assertIsNone(status["cloning"])
        self.assertEqual((status["copy"]["source"], status["copy"]["proven"]), ("demo/prod", True))

    def test_what_ci_is_told(self):
        for user in (self.viewer, self.administrator):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self._clone_ci(user)
        with self.assertRaises(MissingError):
            self._clone_ci(self.outsider)
        with self.assertRaises(MissingError):
            self._clone_ci(environment="demo/nope")
        with self.assertRaises(UserError):
            self._clone_ci(environment="demo/stage; rm -rf /")
        self.stage.indeterminate = True
        with self.assertRaises(Conflict):
            self._clone_ci()
        self.stage.indeterminate = False
        self.kept.state = "dropped"
        with self.assertRaisesRegex(UserError, "neither a restore set"):
            self._clone_ci()

    # Restoring a backup into a lower tier

    def test_a_production_backup_goes_to_staging_as_a_copy(self):
        backup = self._backup(hours=50)
        wizard = self.env["odooops.restore.wizard"].create(
            {"backup_id": backup.id, "environment_id": self.stage.id, "key_typed": "demo/stage", "reason": "look"}
        )
        self.assertTrue(wizard.is_copy)
        self.assertIn("neutralised copy", wizard.loss)
        action = wizard.with_user(self.manager)._start_copy()
        one = self.env["odooops.clone"].browse(action["res_id"])
        self.assertEqual((one.backup_id, one.reason, one.environment_id), (backup, "restore", self.stage))
        self._listed()
        self.assertFalse(self._lease(("restore",)))
        self.assertEqual(self._lease(("clone",)).clone_id, one)

    def test_who_may_restore_into_a_lower_tier(self):
        backup = self._backup()
        values = {"backup_id": backup.id, "environment_id": self.stage.id, "key_typed": "demo/stage", "reason": "look"}
        wizard = self.env["odooops.restore.wizard"].create(values)
        for user in (self.viewer, self.developer, self.outsider):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                wizard.with_user(user)._start_copy()

    def test_a_staging_backup_never_goes_to_production(self):
        backup = self._backup(environment_id=self.stage.id)
        wizard = self.env["odooops.restore.wizard"].create(
            {"backup_id": backup.id, "environment_id": self.prod.id, "key_typed": "demo/prod", "reason": "look"}
        )
        with self.assertRaisesRegex(UserError, "never overwritten"):
            wizard.with_user(self.manager)._start_copy()

    def test_staging_goes_back_to_before_the_copy(self):
        backup = self._backup(environment_id=self.stage.id, database_uuid=STAGE_UUID)
        self._cloned()
        backup._start_restore(self.manager, "the old data")
        result = {**fixture("finish_request_restore")["result"], "digest": DIGEST_A, "database_uuid": STAGE_UUID}
        self._work("restore", result)
        self.assertFalse(self.stage.indeterminate)
        self.assertEqual(self.stage.database_uuid, STAGE_UUID)
        self.assertFalse(self.stage.copy_id, "its data are no copy any more")

    def test_staging_is_rolled_back_to_before_the_copy(self):
        self._stage_goes_on()
        release = self.stage.running_release_id
        before = self._kept_set(self.stage, token=21, digest=release.digest)
        self._cloned()
        self.assertEqual(self.stage.database_uuid, COPY_UUID)
        request = self.env["odooops.rollback.request"].create(
            {
                "environment_id": self.stage.id,
                "tier": "staging",
                "target_id": before.deployment_id.id,
                "tag": before.deployment_id.tag,
                "reason": "the old data",
                "mode": "full",
                "plan_hash": "e" * 64,
                "restore_set_id": before.id,
            }
        )
        result = {"digest": release.digest, "plan_hash": "e" * 64, "mode": "full", "database_uuid": STAGE_UUID}
        self.assertIsNone(request._result_refusal(result))
        self.assertTrue(request._result_refusal({**result, "database_uuid": "of nobody"}))
        request._on_rolled_back(before.operation_id, result)
        self.assertEqual((self.stage.database_uuid, self.stage.copy_id), (STAGE_UUID, self.env["odooops.clone"]))

    # The wizard

    def _wizard(self, user=None):
        action = self.stage.with_user(user or self.developer).action_clone()
        return Form(self.env[action["res_model"]].with_user(user or self.developer).with_context(**action["context"]))

    def test_the_wizard_shows_what_is_copied_and_asks(self):
        form = self._wizard()
        self.assertEqual(form.source_id, self.prod)
        self.assertIn("restore set", form.made_of)
        self.assertIn("2 hours old", form.made_of)
        form.key_typed = "demo/prod"
        wizard = form.save()
        self._listed()
        with self.assertRaisesRegex(UserError, "Type demo/stage"):
            wizard.action_clone()
        wizard.key_typed = "demo/stage"
        one = self.env["odooops.clone"].browse(wizard.action_clone()["res_id"])
        self.assertEqual((one.state, one.requested_by_id), ("queued", self.developer))

    def test_the_wizard_says_why_not(self):
        self.kept.state = "dropped"
        form = self._wizard()
        self.assertIn("neither a restore set", form.refusal)
        wizard = form.save()
        wizard.key_typed = "demo/stage"
        with self.assertRaisesRegex(UserError, "neither a restore set"):
            wizard.action_clone()

    def test_who_may_clone(self):
        for user in (self.viewer, self.outsider, self.ci, self.administrator):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self.stage.with_user(user).action_clone()
        one = self._start()
        for user in (self.viewer, self.outsider):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                one.with_user(user).action_cancel()

    # By schedule

    def test_the_schedule_copies_at_its_hour(self):
        self.stage.write({"clone_schedule": "daily", "clone_hour": 2, "clone_obfuscate": True})
        for at, count in (("2026-11-23 01:59:00", 0), ("2026-11-23 02:10:00", 1), ("2026-11-23 02:40:00", 1)):
            now = fields.Datetime.to_datetime(at)
            with (
                patch.object(self.env.cr, "now", lambda now=now: now),
                patch.object(fields.Datetime, "now", lambda now=now: now),
            ):
                self.env["odooops.environment"]._cron_clones()
            self.assertEqual(len(self.stage.clone_ids), count, at)
        self.assertEqual((self.stage.clone_ids.reason, self.stage.clone_ids.obfuscate), ("schedule", True))

    def test_a_schedule_that_can_t_is_told_once(self):
        self.stage.write({"clone_schedule": "daily", "clone_hour": fields.Datetime.now().hour})
        self.kept.state = "dropped"
        for _time in range(2):
            self.env["odooops.environment"]._cron_clones()
        self.assertEqual(self._activities(), ["demo/stage was not copied"])
        self.assertEqual(self.stage.activity_ids.user_id, self.manager | self.manager_2)
        self.assertEqual(len(self.stage.activity_ids), 2)

    # A project's own rules

    def test_rules_that_are_none_are_refused(self):
        for text, sentence in (("rules: [x]", "needs name, reason"), ("cron_allowlist: [x]", "XML id"), ("[", "YAML")):
            with self.subTest(text=text), self.assertRaisesRegex(ValidationError, sentence):
                self.project.copy_rules = text
        with self.assertRaises(AccessError):
            self.project.with_user(self.manager).copy_rules = RULES
        self.project.with_user(self.administrator).copy_rules = RULES
        self.env.cr.precommit.run()
        noted = self.env["odooops.audit.event"].search([("action", "=", "project.copy_rules_changed")], limit=1)
        self.assertEqual(noted.details["after"], RULES)
