from datetime import timedelta
from unittest.mock import patch

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..core import protocol, redact
from ..models import agent as agent_module
from ..models import operation_agent
from .common import DATABASE_UUID, OdooopsCase, fixture


@tagged("post_install", "-at_install")
class TestGuards(OdooopsCase):
    """What people may not change, and what is audited when they do."""

    def _details(self, action, record):
        self.env.cr.precommit.run()
        events = self.env["odooops.audit.event"].search([("action", "=", action), ("record_id", "=", record.id)])
        return [event.details for event in events.sorted("id")]

    def test_what_names_a_database_stays(self):
        self.prod.database_uuid = DATABASE_UUID
        for vals in ({"tier": "preview"}, {"database_name": "other"}, {"code": "qa"}):
            with self.subTest(vals), self.assertRaisesRegex(UserError, "it keeps its project, name, tier"):
                self.prod.with_user(self.administrator).write(vals)
        self.prod.with_user(self.administrator).write({"tier": "production", "workers": 3})

    def test_a_renamed_environment_keeps_what_was_chosen(self):
        policy = self.env["odooops.approval.policy"].create({"name": "Careful", "tier": "preview"})
        environment = self.env["odooops.environment"].create({"project_id": self.project.id, "code": "qa"})
        environment.write({"policy_id": policy.id, "auto_deploy": True})
        environment.code = "qa-2"
        self.assertEqual((environment.tier, environment.policy_id), ("preview", policy))
        self.assertTrue(environment.auto_deploy)
        environment.tier = "staging"
        self.assertEqual(environment.policy_id.tier, "staging")

    def test_production_is_not_deployed_by_a_push(self):
        with self.assertRaisesRegex(ValidationError, "never deployed by a push"):
            self.prod.auto_deploy = True

    def test_changes_of_an_environment_are_audited(self):
        other, _key = self.env["odooops.agent"]._enrol("droplet-other")
        environment = self.env["odooops.environment"].create({"project_id": self.project.id, "code": "qa"})
        self.assertEqual(self._details("environment.created", environment)[0]["tier"], "preview")
        environment.write({"tier": "staging", "agent_id": other.id})
        environment.workers = 4
        changed, workers = self._details("environment.changed", environment)
        self.assertEqual(workers, {"workers": [2, 4]})
        self.assertEqual(changed["tier"], ["preview", "staging"])
        self.assertEqual(changed["agent_id"], [environment.browse().agent_id.name or False, "droplet-other"])
        self.assertEqual(changed["policy_id"][1], environment.policy_id.name)

    def test_archiving_an_agent_is_audited(self):
        self.agent.active = False
        self.agent.active = True
        self.assertTrue(self._details("agent.archived", self.agent))
        self.assertTrue(self._details("agent.activated", self.agent))

    def test_machine_fields_are_not_given_at_creation(self):
        Environment = self.env["odooops.environment"].with_user(self.administrator)
        vals = {"project_id": self.project.id, "code": "qa"}
        for name, value in (("token", 7), ("uuid", "x"), ("database_uuid", "x"), ("health", "green")):
            with self.subTest(name), self.assertRaisesRegex(AccessError, "recorded by OdooOps"):
                Environment.create({**vals, name: value})
            with self.subTest(name), self.assertRaisesRegex(AccessError, "recorded by OdooOps"):
                Environment.with_context(**{f"default_{name}": value}).create(vals)
        with self.assertRaisesRegex(AccessError, "reported by the agent"):
            self.env["odooops.agent"].with_user(self.administrator).create({"name": "x", "user_id": self.manager.id})

    def test_url_follows_the_main_domain(self):
        Domain = self.env["odooops.environment.domain"]
        main = Domain.create({"environment_id": self.prod.id, "name": "old.example.com"})
        self.assertEqual(self.prod.url, "https://old.example.com")
        main.name = "new.example.com"
        self.assertEqual(self.prod.url, "https://new.example.com")
        self.stage.write(
            {"url": "http://stage.localhost:8080", "domain_ids": [(0, 0, {"name": "stage.localhost", "kind": "main"})]}
        )
        self.assertEqual(self.stage.url, "http://stage.localhost:8080")
        self.stage.domain_ids.name = "try.localhost"
        self.assertEqual(self.stage.url, "http://try.localhost:8080")

    def test_archive(self):
        self._register()
        with self.assertRaisesRegex(UserError, "is being worked on"):
            self.stage.active = False
        self.stage.active_deployment_id.with_user(self.developer)._cancel()
        self.stage.active = False

    def test_an_operation_that_was_begun_stays_with_its_agent(self):
        other, _key = self.env["odooops.agent"]._enrol("droplet-other")
        self._register()
        self._plan(self.stage.active_deployment_id)
        operation = self._lease(("deploy",))
        with freeze_time(fields.Datetime.now() + timedelta(minutes=2)):
            self.env["odooops.operation"]._expire_leases()
        self.assertEqual(operation.state, "queued")
        with self.assertRaisesRegex(UserError, "works on demo/stage"):
            self.stage.agent_id = other

    def test_the_agent_is_woken(self):
        other, _key = self.env["odooops.agent"]._enrol("droplet-other")
        self._register()
        with patch.object(type(self.agent), "_wake", autospec=True) as wake:
            self.stage.agent_id = other
            self.assertEqual(wake.call_args.args[0], other)
            wake.reset_mock()
            self.stage.indeterminate = True
            self.stage.with_user(self.manager).action_mark_repaired()
            self.assertEqual(wake.call_args.args[0], other)

    def test_queue_reads_what_is_open(self):
        self._live_on_stage()
        self.assertEqual((self.stage.queue_count, self.stage.active_deployment_id.id), (0, False))
        self.assertEqual(self.stage.last_state, "live")
        self._register(sha="b" * 40, digest=f"sha256:{'2' * 64}")
        self.assertEqual((self.stage.queue_count, self.stage.active_state), (1, "draft"))


@tagged("post_install", "-at_install")
class TestAgentData(OdooopsCase):
    """What agents send is believed within limits, and masked."""

    def _heartbeat(self, **values):
        message = protocol.Heartbeat.from_json({**fixture("heartbeat_request"), **values})
        self.agent._seen(message)
        self.agent.environment_ids._report(message.environments, message.tokens)

    def test_unknown_disk(self):
        for host in ({"disk_free_bytes": None}, {"disk_free_bytes": "much"}, {}):
            self._heartbeat(host=host, environments=[])
            self.assertEqual(self.agent.disk_free_gb, 0)

    def test_secrets_are_masked(self):
        report = {"key": "demo/stage", "health": "red", "detail": "no login: password=hunter2"}
        self._heartbeat(host={"note": "token: hunter2", "api_key": "hunter2"}, environments=[report])
        self._register()
        operation = self._lease()
        error = {"code": "x", "step": "y", "message": "password=hunter2", "log_tail": ["secret=hunter2"]}
        self._finish(operation, "failed", {"facts": {"warnings": ["postgresql://me:hunter2@db/x"]}}, error)
        self.env.flush_all()
        for table in ("odooops_environment", "odooops_agent", "odooops_operation", "odooops_deployment"):
            self.cr.execute(f"SELECT count(*) FROM {table} one WHERE one::text LIKE '%hunter2%'")
            self.assertEqual(self.cr.fetchone()[0], 0, table)
        self.cr.execute("SELECT count(*) FROM mail_message WHERE body LIKE '%hunter2%'")
        self.assertEqual(self.cr.fetchone()[0], 0)

    def test_what_is_no_secret_stays(self):
        data = {"modules": [{"name": "auth_password_policy", "to": "19.0.1.0"}], "token": 7, "ok": True, "none": None}
        self.assertEqual(redact.masked_data(data), data)

    def test_a_token_that_was_never_given_out_is_dropped(self):
        message = fixture("lease_request")
        message["tokens"] = {"demo/stage": protocol.MAX_TOKEN + 1, "demo/prod": 7}
        self.assertEqual(protocol.LeaseRequest.from_json(message).tokens, {"demo/prod": 7})

    def test_reminders_go_when_the_key_is_new(self):
        with freeze_time(fields.Datetime.now() + timedelta(days=17)):
            self.env["res.users"]._cron_odooops_keys()
            self.assertTrue(self.agent.activity_ids)
            self.env["odooops.agent.key"]._issue(self.agent)
            self.agent.key_ids.sorted("id")[-1]._used()
            self.assertFalse(self.agent.activity_ids)

    def test_old_events_go(self):
        event, _new = self.env["odooops.event"]._receive("ci", "old", "test")
        self.env.flush_all()
        self.cr.execute("UPDATE odooops_event SET create_date = now() - interval '1 year' WHERE id = %s", (event.id,))
        self.env["odooops.event"]._gc_events()
        self.assertFalse(event.exists())


@tagged("post_install", "-at_install")
class TestWatch(OdooopsCase):
    """The watch sees silence within 30 s and survives what fails."""

    @mute_logger("odoo.addons.odooops_control.models.agent")
    def test_one_failure_does_not_stop_the_rest(self):
        with (
            patch.object(type(self.agent), "_notice_silent", side_effect=ValueError),
            patch.object(type(self.env["odooops.deployment"]), "_end_soaks") as end_soaks,
        ):
            self.env["odooops.agent"]._cron_watch()
        end_soaks.assert_called_once()

    def test_it_comes_back_when_the_quietest_agent_would_be_silent(self):
        self.agent.last_seen_at = fields.Datetime.now() - timedelta(seconds=5)
        Agent = self.env["odooops.agent"].with_context(cron_id=1)
        with patch.object(agent_module.threading, "Timer") as timer, patch.dict(agent_module._timers):
            Agent._cron_watch()
            Agent._cron_watch()
        timer.assert_called_once()
        self.assertTrue(18 <= timer.call_args.args[0] <= 24, timer.call_args)


@tagged("post_install", "-at_install")
class TestKept(OdooopsCase):
    """What is kept, for how long, and how it is read."""

    def test_a_project_with_a_database_keeps_its_code(self):
        self.project.code = "demo-2"
        self.prod.database_uuid = DATABASE_UUID
        with self.assertRaisesRegex(UserError, "its code stays"):
            self.project.code = "demo"
        self.project.write({"code": "demo-2", "name": "Another"})

    def test_lines_of_one_attempt_are_capped(self):
        self._register()
        operation = self._lease()
        lines = [
            protocol.Line.from_json({"seq": seq, "text": f"line {seq}"})
            for seq in (1, operation_agent._LINES_KEPT, operation_agent._LINES_KEPT + 1)
        ]
        operation._report_lines(lines)
        self.assertEqual(operation.log_ids.sorted("seq").mapped("text"), ["line 1", "[what follows is not kept]"])

    def test_old_steps_go(self):
        self._register()
        operation = self._lease()
        operation._report_steps([protocol.Step.from_json({"seq": 1, "name": "pull_image", "state": "succeeded"})])
        self.env.flush_all()
        self.cr.execute("UPDATE odooops_operation_step SET create_date = now() - interval '2 years'")
        self.env["odooops.operation.step"]._gc_steps()
        self.assertFalse(operation.step_ids.exists())

    def test_large_fields_are_read_when_asked_for(self):
        for name in self.env.registry:
            for field in self.env[name]._fields.values() if name.startswith("odooops.") else ():
                if field.type == "json" and field.store:
                    self.assertFalse(field.prefetch, field)

    def test_every_page_says_what_to_do_when_it_is_empty(self):
        actions = self.env["ir.actions.act_window"].search(
            [("res_model", "=like", "odooops.%"), ("target", "!=", "new")]
        )
        self.assertGreater(len(actions), 10)
        self.assertFalse(actions.filtered(lambda action: not action.help).mapped("name"))
