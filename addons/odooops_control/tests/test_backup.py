import json
from base64 import b64decode, b64encode
from datetime import timedelta

from nacl.public import PrivateKey, SealedBox
from psycopg2 import IntegrityError

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from ..core import backup as core
from .common import OdooopsCase, fixture

SNAPSHOT = "6f2c" * 16
PASSWORD = "nobody may read this"


@tagged("post_install", "-at_install")
class TestBackup(OdooopsCase):
    """Repositories, backups, their tests, and what a policy makes of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.agents_key = PrivateKey.generate()
        cls.agent.sudo().sealing_public_key = b64encode(bytes(cls.agents_key.public_key)).decode()
        cls.repository = (
            cls.env["odooops.backup.repository"]
            .with_user(cls.administrator)
            .create({"name": "Disk", "agent_id": cls.agent.id, "url": "/srv/odooops-backups/demo"})
        )
        cls.policy = cls.env["odooops.approval.policy"]._for_tier("production")

    def _ready(self):
        """Bring a release to production and give it a repository."""
        deployment = self._live_on_prod()
        self.prod.repository_id = self.repository
        return deployment

    def _result(self, **values):
        message = fixture("finish_request_backup")["result"]
        now = fields.Datetime.now().isoformat() + "Z"
        return {**message, "taken_at": now, "digest": self.prod.running_release_id.digest, "forgotten": [], **values}

    def _work(self, kind, result=None, outcome="succeeded", error=None):
        operation = self._lease((kind,))
        self.assertTrue(operation, f"no {kind} is queued")
        self._finish(operation, outcome=outcome, result=result or {}, error=error)
        return operation

    def _back_up(self, **values):
        made = self.env["odooops.backup"]._start(self.prod, "button")
        self._work("backup", self._result(**values))
        return made

    def _opened(self, repository=None):
        sealed = (repository or self.repository).sudo().sealed
        return json.loads(SealedBox(self.agents_key).decrypt(b64decode(sealed)))

    # What opens a repository

    def test_a_password_of_its_own_is_made_and_known_to_the_agent_alone(self):
        self.assertGreater(len(self._opened()["password"]), 30)
        self.assertTrue(self.repository.is_sealed)

    def test_what_is_entered_reaches_no_table(self):
        form = Form(self.env["odooops.backup.repository"].with_user(self.administrator))
        form.name, form.url = "Spaces", "s3:https://fra1.example.com/backups"
        form.entered_password, form.entered_access_key, form.entered_secret_key = PASSWORD, "AKIA", "very secret"
        repository = form.save()
        opened = self._opened(repository)
        self.assertEqual(opened["password"], PASSWORD)
        self.assertEqual(opened["environment"], {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "very secret"})
        self.env.flush_all()
        repository.invalidate_recordset()
        self.assertFalse(repository.entered_password)
        for table in ("odooops_backup_repository", "odooops_audit_event", "mail_message"):
            self.env.cr.execute(f"SELECT 1 FROM {table} AS t WHERE t::text LIKE %s", [f"%{PASSWORD}%"])  # pylint: disable=sql-injection
            self.assertFalse(self.env.cr.fetchall(), table)

    def test_keys_without_the_password_are_refused_as_nobody_can_read_the_old_one(self):
        with self.assertRaisesRegex(UserError, "nobody here can read the old one"):
            self.repository.entered_secret_key = "another"

    def test_a_droplet_enrolled_anew_needs_the_password_again(self):
        self._ready()
        self.agent.sudo().sealing_public_key = b64encode(bytes(PrivateKey.generate().public_key)).decode()
        self.repository.invalidate_recordset()
        with self.assertRaisesRegex(UserError, "password again"):
            self.env["odooops.backup"]._start(self.prod, "button")

    def test_only_places_that_the_agent_takes(self):
        for url in (
            "sftp:host:/x",
            "rclone:a:b",
            "/etc",
            "/srv/../etc/x",
            "s3:https://u:p@host/b",
            "s3:ftp://h/b",
            "x",
        ):
            with self.subTest(url=url), self.assertRaises(ValidationError):
                self.repository.url = url

    def test_a_repository_with_backups_stays_where_it_is(self):
        self._ready()
        self._back_up()
        with self.assertRaisesRegex(UserError, "has backups"):
            self.repository.url = "/srv/odooops-backups/other"

    def test_the_recovery_key_is_shown_once_and_opens_what_the_agent_seals_for_it(self):
        action = self.repository._make_recovery_key()
        private = PrivateKey(b64decode(action["context"]["default_key"]))
        self.assertEqual(self.repository.recovery_public_key, b64encode(bytes(private.public_key)).decode())
        self.env.flush_all()
        self.env.cr.execute("SELECT t::text FROM odooops_backup_repository t")
        self.assertNotIn(action["context"]["default_key"], str(self.env.cr.fetchall()))
        with self.assertRaises(AccessError):
            self.repository.with_user(self.manager)._make_recovery_key()
        with self.assertRaisesRegex(AccessError, "in the web client"):
            self.repository.with_user(self.administrator).action_make_recovery_key()

    def test_viewers_see_their_repositories_and_nothing_that_opens_them(self):
        self.prod.repository_id = self.repository
        found = self.env["odooops.backup.repository"].with_user(self.viewer).search([])
        self.assertEqual(found, self.repository)
        self.assertNotIn("sealed", found.with_user(self.viewer).fields_get())
        with self.assertRaises(AccessError):
            found.with_user(self.viewer).read(["sealed"])
        with self.assertRaises(AccessError):
            found.with_user(self.manager).write({"entered_password": "mine"})
        self.assertFalse(self.env["odooops.backup.repository"].with_user(self.outsider).search([]))

    # Backups

    def test_the_operation_travels_as_in_the_fixture(self):
        self._ready()
        made = self.env["odooops.backup"]._start(self.prod, "button")
        payload = self._lease(("backup",))._payload()
        expected = fixture("lease_response_backup")["operation"]
        self.assertEqual(payload["backup"].keys(), expected["backup"].keys())
        self.assertEqual(payload["backup"]["repository"].keys(), expected["backup"]["repository"].keys())
        self.assertEqual(payload["backup"]["retention"], {"daily": 7, "weekly": 4, "monthly": 3})
        self.assertEqual((payload["kind"], payload["backup"]["backup"]), ("backup", made.id))
        self.assertEqual(payload["release"]["digest"], self.prod.running_release_id.digest)

    def test_a_backup_by_a_button(self):
        self._ready()
        self.prod.with_user(self.developer).action_back_up()
        made = self.prod.backup_ids
        self.assertEqual((made.state, made.requested_by_id), ("queued", self.developer))
        self._work("backup", self._result())
        self.assertEqual((made.state, made.snapshot, made.files), ("kept", SNAPSHOT, 20000))
        self.assertEqual((self.prod.last_backup_id, self.repository.state), (made, "ok"))
        self.assertEqual(self.repository.identity, "1d5e" * 16)
        self.assertEqual(made.release_id, self.prod.running_release_id)

    def test_who_may_not_ask_for_one(self):
        self._ready()
        for user in (self.viewer, self.outsider, self.ci):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self.prod.with_user(user).action_back_up()

    def test_one_at_a_time(self):
        self._ready()
        made = self.env["odooops.backup"]._start(self.prod, "button")
        self.assertEqual(self.env["odooops.backup"]._start(self.prod, "schedule"), made)
        self.assertEqual(len(self.prod.operation_ids.filtered(lambda one: one.kind == "backup")), 1)
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.env.cr.savepoint():
            made.copy({"environment_id": self.prod.id, "repository_id": self.repository.id, "reason": "button"})

    def test_each_trouble_colours_the_repository(self):
        self._ready()
        for code in ("locked", "unreachable", "wrong_password", "damaged"):
            made = self.env["odooops.backup"]._start(self.prod, "button")
            error = {"code": f"repository_{code}", "step": "check_repository", "message": f"It is {code}."}
            self._work("backup", {}, "failed", error)
            with self.subTest(code=code):
                self.assertEqual((made.state, self.repository.state), ("failed", code))
                self.assertEqual(self.repository.state_detail, f"It is {code}.")
                self.assertIn("failed", self.prod.backup_warning)
        self._back_up()
        self.assertEqual(self.repository.state, "ok")
        self.prod.invalidate_recordset(["backup_warning"])
        self.assertIn("ever restored", self.prod.backup_warning)

    def test_an_answer_without_a_checked_snapshot_is_no_backup(self):
        self._ready()
        for values in ({"snapshot": ""}, {"snapshot": "x"}, {"check": "skipped"}):
            made = self.env["odooops.backup"]._start(self.prod, "button")
            self._work("backup", self._result(**values))
            with self.subTest(**values):
                self.assertEqual(made.state, "failed")

    def test_what_the_repository_has_no_more_is_let_go_though_nobody_told_of_it(self):
        self._ready()
        lost, kept = self._back_up(), self._back_up(snapshot="0a1b" * 16)
        earlier = fields.Datetime.now() - timedelta(hours=1)
        (lost | kept).write({"taken_at": earlier})
        last = self._back_up(snapshot="2c3d" * 16, remaining=["0a1b" * 16, "2c3d" * 16])
        self.assertEqual((lost | kept | last).mapped("state"), ["forgotten", "kept", "kept"])

    def test_a_list_of_what_remains_that_can_not_be_right_lets_nothing_go(self):
        self._ready()
        first = self._back_up()
        first.taken_at -= timedelta(hours=1)
        for number, remaining in enumerate(([], ["0a1b" * 16], "all", None)):
            self._back_up(snapshot=f"{number}c3d" * 16, remaining=remaining)
            with self.subTest(remaining=remaining):
                self.assertEqual(first.state, "kept")

    def test_what_retention_let_go_is_told(self):
        self._ready()
        first = self._back_up()
        self._back_up(snapshot="0a1b" * 16, forgotten=[SNAPSHOT])
        self.assertEqual(first.state, "forgotten")
        with self.assertRaisesRegex(UserError, "nothing to restore"):
            first.with_user(self.developer).action_test()

    def test_a_failed_backup_leaves_the_environment_as_it_was_known(self):
        self._ready()
        before = self.prod.read(["health", "running_digest", "indeterminate", "database_uuid"])
        self.env["odooops.backup"]._start(self.prod, "button")
        error = {"code": "dump_failed", "step": "dump_database", "message": "No."}
        self._work("backup", {"reverted": True, "health": "red", "digest": None}, "failed", error)
        self.assertEqual(self.prod.read(["health", "running_digest", "indeterminate", "database_uuid"]), before)

    # The proof

    def test_a_restore_test_stands_on_the_backup(self):
        self._ready()
        made = self._back_up()
        made.with_user(self.developer).action_test()
        operation = self._lease(("restore_test",))
        payload = operation._payload()
        self.assertEqual(payload["backup"]["snapshot"], SNAPSHOT)
        self.assertEqual(payload["backup"]["source"]["environment"], "demo/prod")
        self._finish(operation, result=fixture("finish_request_restore_test")["result"])
        self.assertEqual((made.test_state, made.recovery_seconds), ("proven", 48.2))
        self.assertIn("✗ file contents", made.test_checks_text)
        self.assertEqual(self.prod.last_proven_id, made)
        self.assertFalse(self.prod.backup_warning)

    def test_a_backup_that_can_t_be_restored_is_told(self):
        self._ready()
        made = self._back_up()
        made._start_test()
        error = {"code": "restore_test_failed", "step": "prove_backup", "message": "Odoo boots: it does not."}
        self._work("restore_test", {"reverted": True}, "failed", error)
        self.assertEqual((made.test_state, made.state), ("failed", "kept"))
        self.assertFalse(self.prod.last_proven_id)

    def test_a_test_that_was_cut_off_says_nothing_about_the_backup(self):
        self._ready()
        made = self._back_up()
        made._start_test()
        self._work("restore_test", {}, "failed", {"code": "interrupted", "step": "load_dump", "message": "Stopped."})
        self.assertEqual(made.test_state, "untested")

    # Going back

    def _asks_to_go_back(self):
        """Have a rollback to v1.0.0 asked for and return it with what its preview is told."""
        Request = self.env["odooops.rollback.request"].with_user(self.developer)
        answer = Request.submit("demo/prod", "v1.0.0", "orders fail")
        operation = self._lease(("plan", "rollback"))
        return operation.rollback_id.browse(answer["id"]), operation._payload()["rollback"]

    def test_a_rollback_is_offered_the_newest_backup_of_its_target(self):
        self._ready()
        self._back_up(taken_at="2026-11-20T10:00:00Z")
        newest = self._back_up(taken_at="2026-11-21T10:00:00Z", snapshot="7a2c" * 16)
        later = self._awaiting("v1.1.0", "b" * 40, "sha256:" + "2" * 64)
        later._approve(self.manager, later.plan_hash, "looked")
        self._deploy(later)
        self._back_up(taken_at="2026-11-22T10:00:00Z", snapshot="8b2c" * 16)
        request, told = self._asks_to_go_back()
        self.assertEqual(request.backup_id, newest)
        self.assertGreater(newest.database_bytes, 0)
        self.assertEqual(
            told["backup"],
            {
                "id": newest.id,
                "snapshot": "7a2c" * 16,
                "taken_at": "2026-11-21T10:00:00Z",
                "database_bytes": int(newest.database_bytes),
                "repository": self.repository._agent_payload(),
            },
        )
        request.with_user(self.developer).action_cancel()
        self.repository.sudo().sealed_for = "another droplet's key"
        self.repository.invalidate_recordset(["is_sealed"])
        _request, told = self._asks_to_go_back()
        self.assertIsNone(told["backup"], "nobody can open it")

    # Restoring

    def _restored_result(self, backup, **values):
        message = fixture("finish_request_restore")["result"]
        return {**message, "digest": backup.digest, "database_uuid": self.prod.database_uuid, **values}

    def _started(self, backup):
        return backup._start_restore(self.administrator, "the import of this morning")

    def test_a_backup_takes_its_environment_s_place(self):
        first = self._ready()
        made = self._back_up()
        later = self._awaiting("v1.1.0", "b" * 40, "sha256:" + "2" * 64)
        later._approve(self.manager, later.plan_hash, "looked")
        self._deploy(later)
        self._started(made)
        operation = self._lease(("restore",))
        payload = operation._payload()
        expected = fixture("lease_response_restore")["operation"]
        self.assertEqual(payload["backup"].keys(), expected["backup"].keys())
        self.assertEqual(payload["release"]["digest"], first.release_id.digest)
        self.assertTrue(operation.exclusive)
        self._finish(operation, result=self._restored_result(made))
        self.assertEqual(self.prod.running_deployment_id, first)
        self.assertEqual((first.state, later.state), ("live", "superseded"))
        self.assertEqual(self.prod.running_digest, first.release_id.digest)
        self.assertEqual(self.prod.restore_set_ids.sorted("id")[-1:].database_snapshot, "demo_prod__s19")

    def test_a_restore_that_failed_left_everything(self):
        live = self._ready()
        made = self._back_up()
        self._started(made)
        error = {"code": "restore_failed", "step": "load_dump", "message": "No."}
        self._work("restore", {"reverted": True, "health": "green"}, "failed", error)
        self.assertEqual((self.prod.running_deployment_id, live.state), (live, "live"))
        self.assertFalse(self.prod.indeterminate)

    def test_a_restore_in_doubt_closes_the_environment(self):
        self._ready()
        made = self._back_up()
        self._started(made)
        error = {"code": "undo_failed", "step": "swap_database_back", "message": "No."}
        self._work("restore", {"reverted": False}, "indeterminate", error)
        self.assertTrue(self.prod.indeterminate)
        with self.assertRaisesRegex(UserError, "needs repair"):
            self._started(made)

    def test_an_agent_that_restored_something_else_is_not_believed(self):
        self._ready()
        made = self._back_up()
        self._started(made)
        self._work("restore", self._restored_result(made, digest="sha256:" + "9" * 64))
        self.assertTrue(self.prod.indeterminate)

    def test_one_change_at_a_time(self):
        self._ready()
        made = self._back_up()
        self._started(made)
        with self.assertRaisesRegex(UserError, "under way"):
            self._started(made)

    def test_a_backup_that_was_let_go_meanwhile_is_not_restored(self):
        self._ready()
        made = self._back_up()
        operation = self._started(made)
        made._update_state("forgotten")
        self.assertFalse(self._lease(("restore",)))
        self.assertEqual(operation.state, "cancelled")

    def test_who_may_restore_what(self):
        self._ready()
        made = self._back_up()
        for user in (self.viewer, self.developer, self.manager):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                made._check_may_restore(user)
        made._check_may_restore(self.administrator)
        values = {"environment_id": self.stage.id, "repository_id": self.repository.id, "reason": "button"}
        of_stage = self.env["odooops.backup"].create(values)
        of_stage._check_may_restore(self.manager)
        with self.assertRaises(AccessError):
            of_stage._check_may_restore(self.developer)

    def test_restoring_is_meant_and_done_in_person(self):
        self._ready()
        made = self._back_up()
        wizard = self.env["odooops.restore.wizard"].create(
            {"backup_id": made.id, "key_typed": "demo/prod", "reason": "why"}
        )
        self.assertIn("hours ago", wizard.loss)
        with self.assertRaisesRegex(AccessError, "web client"):
            wizard.with_user(self.administrator).action_restore()
        self.assertFalse(self._lease(("restore",)))

    def test_a_deployment_does_not_stand_behind_a_backup(self):
        self._ready()
        self.env["odooops.backup"]._start(self.prod, "schedule")
        running = self._lease(("backup",))
        later = self._awaiting("v1.1.0", "b" * 40, "sha256:" + "2" * 64)
        later._approve(self.manager, later.plan_hash, "looked")
        self.assertEqual(self._deploy(later).state, "live")
        self.assertEqual(running.state, "leased")

    # The night

    def test_the_nightly_round_backs_up_what_is_due_and_tests_it(self):
        self._ready()
        self.env["odooops.environment"]._cron_backups()
        self.assertEqual(self.prod.backup_ids.reason, "schedule")
        self._work("backup", self._result())
        self.env["odooops.environment"]._cron_backups()
        self.assertEqual(len(self.prod.backup_ids), 1, "it is not due again")
        self.assertEqual(self.prod.backup_ids.test_state, "testing")

    def test_one_that_can_t_be_backed_up_keeps_no_other_from_it(self):
        self._ready()
        self.stage.repository_id = self.repository
        self.stage.database_uuid = "another"
        self.stage.running_deployment_id = False
        self.env["odooops.environment"]._cron_backups()
        self.assertEqual(self.prod.backup_ids.state, "queued")
        self.assertFalse(self.stage.backup_ids)

    # What a policy asks for

    def _approve_next(self):
        deployment = self._awaiting("v1.1.0", "b" * 40, "sha256:" + "2" * 64)
        deployment._approve(self.manager, deployment.plan_hash, "looked")
        return deployment

    def test_production_without_a_repository_is_not_touched(self):
        self._live_on_prod()
        self.policy.backup_max_age_hours = 24
        deployment = self._awaiting("v1.1.0", "b" * 40, "sha256:" + "2" * 64)
        with self.assertRaisesRegex(UserError, "no backup repository"):
            deployment._approve(self.manager, deployment.plan_hash, "looked")

    def test_a_first_installation_has_nothing_to_back_up(self):
        self.policy.backup_max_age_hours = 24
        self.assertEqual(self._live_on_prod().state, "live")

    def test_a_backup_is_taken_before_the_deployment(self):
        self._ready()
        self.policy.backup_max_age_hours = 24
        deployment = self._approve_next()
        self.assertEqual((deployment.state, self.prod.backup_ids.reason), ("approved", "deployment"))
        self.assertFalse(self._lease(("deploy",)), "nothing is deployed before it is backed up")
        self._work("backup", self._result())
        self.assertEqual(deployment.state, "queued")
        self.assertEqual(self._deploy(deployment).state, "live")

    def test_a_fresh_backup_is_good_enough(self):
        self._ready()
        self._back_up()
        self.policy.backup_max_age_hours = 24
        self.assertEqual(self._approve_next().state, "queued")

    def test_a_policy_may_want_one_before_each_deployment(self):
        self._ready()
        self._back_up()
        self.policy.backup_first = True
        deployment = self._approve_next()
        self.assertEqual((deployment.state, self.prod.backup_ids[:1].state), ("approved", "kept"))
        self._work("backup", self._result(snapshot="0a1b" * 16))
        self.assertEqual(deployment.state, "queued")
        self.assertEqual(self._deploy(deployment).state, "live")

    def test_a_plan_s_end_is_recorded_though_no_backup_can_be_taken(self):
        """On staging nobody is asked, so that the agent's report runs into it."""
        self._live_on_stage()
        self.stage.repository_id = self.repository
        self.stage.policy_id.backup_first = True
        self.repository.sudo().sealed_for = "another droplet's key"
        self._register(sha="b" * 40, digest="sha256:" + "2" * 64)
        deployment = self.stage.deployment_ids.sorted("id")[-1:]
        self._plan(deployment)
        self.assertEqual(deployment.state, "planned")
        with self.assertRaisesRegex(UserError, "password again"):
            deployment._approve(self.manager, deployment.plan_hash, "looked")

    def test_a_backup_begun_for_another_deployment_is_waited_for_too(self):
        self._ready()
        self.policy.backup_max_age_hours = 24
        first = self._approve_next()
        first.with_user(self.manager)._cancel()
        second = self._awaiting("v1.2.0", "c" * 40, "sha256:" + "3" * 64)
        second._approve(self.manager, second.plan_hash, "looked")
        self.assertEqual((second.state, len(self.prod.backup_ids)), ("approved", 1))
        self._work("backup", self._result())
        self.assertEqual((first.state, second.state), ("cancelled", "queued"))

    def test_without_the_backup_nothing_is_deployed(self):
        self._ready()
        self.policy.backup_max_age_hours = 24
        deployment = self._approve_next()
        self._work("backup", {}, "failed", {"code": "disk_full", "step": "dump_database", "message": "Full."})
        self.assertEqual(deployment.state, "cancelled")
        self.assertFalse(self._lease(("deploy",)))

    def test_a_policy_may_ask_for_a_backup_that_was_restored(self):
        self._ready()
        self.policy.proven_max_age_hours = 48
        made = self._back_up()
        deployment = self._awaiting("v1.1.0", "b" * 40, "sha256:" + "2" * 64)
        with self.assertRaisesRegex(UserError, "ever restored"):
            deployment._approve(self.manager, deployment.plan_hash, "looked")
        made._start_test()
        self._work("restore_test", fixture("finish_request_restore_test")["result"])
        made.taken_at = fields.Datetime.now() - timedelta(hours=49)
        with self.assertRaisesRegex(UserError, "49 hours old"):
            deployment._approve(self.manager, deployment.plan_hash, "looked")
        made.taken_at = fields.Datetime.now() - timedelta(hours=47)
        deployment._follow_conditions()
        deployment._approve(self.manager, deployment.plan_hash, "looked")
        self.assertEqual(deployment.state, "queued")

    def test_a_new_age_makes_a_new_policy_version(self):
        version = self.policy.version
        self.policy.proven_max_age_hours = 12
        self.assertEqual(self.policy.version, version + 1)

    def test_the_core(self):
        now = fields.Datetime.now()
        day = timedelta(days=1)
        kept = core.Kept("demo/prod", True, True, now - day + timedelta(hours=1), None)
        self.assertTrue(core.is_due(kept, now), "a little less than a day ago is last night")
        self.assertFalse(core.is_due(core.Kept("x", True, True, now - day / 2, None), now))
        self.assertFalse(core.is_due(core.Kept("x", False, True, None, None), now))
        self.assertTrue(core.is_stale(core.Kept("x", True, True, None, None), now, 1))
        self.assertFalse(core.is_stale(core.Kept("x", True, True, None, None), now, 0))
        self.assertFalse(core.test_is_due(kept, now, 0))
