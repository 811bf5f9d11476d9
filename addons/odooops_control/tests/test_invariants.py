import psycopg2

from odoo.exceptions import UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import DIGEST_B, PLAN_HASH, SHA_B, OdooopsCase


@tagged("post_install", "-at_install")
class TestInvariants(OdooopsCase):
    """What PostgreSQL refuses even when the code would let it pass."""

    def _violates(self, error, function):
        with mute_logger("odoo.sql_db"), self.assertRaises(error), self.cr.savepoint():
            function()
            self.env.flush_all()

    def test_one_exclusive_operation_per_environment(self):
        operations = self.env["odooops.operation"]
        first = operations._enqueue("deploy", self.stage)
        second = operations._enqueue("rollback", self.stage)
        plan = operations._enqueue("plan", self.stage)
        elsewhere = self._enqueue_for_nobody("deploy", self.prod)
        (first | plan | elsewhere).write({"state": "leased"})
        self.env.flush_all()
        self._violates(psycopg2.errors.UniqueViolation, lambda: second.write({"state": "leased"}))
        self._violates(psycopg2.errors.UniqueViolation, lambda: second.write({"state": "running"}))
        first.state = "succeeded"
        self.env.flush_all()
        second.state = "leased"
        self.env.flush_all()

    def test_one_active_deployment_on_production(self):
        deployment = self._awaiting()
        values = {
            "environment_id": self.prod.id,
            "release_id": deployment.release_id.id,
            "tag": "v1.0.1",
            "tier": "production",
        }
        self._violates(psycopg2.errors.UniqueViolation, lambda: self.env["odooops.deployment"].create(values))
        staging = {**values, "environment_id": self.stage.id, "tier": "staging"}
        self.env["odooops.deployment"].create([staging, staging])

    def test_unique_tag_and_commit(self):
        self._register("refs/tags/v1.0.0")
        release = self.project.release_ids
        values = {"project_id": self.project.id, "image": "x", "digest": DIGEST_B}
        self._violates(
            psycopg2.errors.UniqueViolation,
            lambda: self.env["odooops.release"].create({**values, "commit_sha": release.commit_sha}),
        )
        other = self.env["odooops.release"].create({**values, "commit_sha": SHA_B})
        self._violates(
            psycopg2.errors.UniqueViolation,
            lambda: self.env["odooops.release.tag"].create({"release_id": other.id, "name": "v1.0.0"}),
        )

    def test_a_release_never_changes(self):
        self._register("refs/tags/v1.0.0")
        release = self.project.release_ids
        for vals in ({"digest": DIGEST_B}, {"commit_sha": SHA_B}, {"manifest": {}}, {"image": "x"}):
            with self.subTest(vals), self.assertRaisesRegex(UserError, "never changes"):
                release.write(vals)
        with self.assertRaisesRegex(UserError, "never moves"):
            release.tag_ids.write({"name": "v2.0.0"})
        with self.assertRaisesRegex(UserError, "stays in the ledger"):
            release.unlink()
        for column in ("digest", "commit_sha", "image"):
            self._violates(
                psycopg2.errors.InsufficientPrivilege,
                lambda column=column: self.cr.execute(f"UPDATE odooops_release SET {column} = 'x'"),
            )

    def test_one_decision_per_person_and_plan(self):
        deployment = self._awaiting()
        values = {
            "deployment_id": deployment.id,
            "plan_hash": PLAN_HASH,
            "user_id": self.manager.id,
            "decision": "approved",
        }
        approval = self.env["odooops.approval"].create(values)
        self._violates(psycopg2.errors.UniqueViolation, lambda: self.env["odooops.approval"].create(values))
        with self.assertRaisesRegex(UserError, "can't be changed"):
            approval.write({"decision": "rejected"})

    def test_tokens_only_grow(self):
        self.stage.token = 7
        self.env.flush_all()

        def shrink():
            self.stage.token = 6

        self._violates(psycopg2.errors.InsufficientPrivilege, shrink)
        self.stage.invalidate_recordset()
        self.assertEqual(self.stage._next_token(3), 8)
        self.assertEqual(self.stage._next_token(40), 41)

    def test_one_main_domain_and_unique_hosts(self):
        Domain = self.env["odooops.environment.domain"]
        Domain.create({"environment_id": self.stage.id, "name": "Stage.Example.com."})
        self.assertEqual(self.stage.main_domain, "stage.example.com")
        self.assertEqual(self.stage.url, "https://stage.example.com")
        self._violates(
            psycopg2.errors.UniqueViolation,
            lambda: Domain.create({"environment_id": self.stage.id, "name": "two.example.com"}),
        )
        self._violates(
            psycopg2.errors.UniqueViolation,
            lambda: Domain.create({"environment_id": self.prod.id, "name": "stage.example.com"}),
        )

    def test_a_delivery_counts_once(self):
        Event = self.env["odooops.event"]
        event, is_first = Event._receive("github", "guid-1", "push", self.project, {"ref": "x"})
        again, is_first_again = Event._receive("github", "guid-1", "push", self.project, {"ref": "y"})
        self.assertEqual((event, is_first, is_first_again), (again, True, False))
        self.assertEqual((event.payload, event.count), ({"ref": "x"}, 2))
        values = {"provider": "github", "delivery_id": "guid-1", "kind": "push"}
        self._violates(psycopg2.errors.UniqueViolation, lambda: Event.create(values))

    def test_states_have_one_writer(self):
        deployment = self._awaiting()
        with self.assertLogs("odoo.addons.odooops_control.models.mixins", "WARNING"):
            self.assertFalse(deployment._update_state("live"))
        self.assertEqual(deployment.state, "awaiting_approval")
        self.assertFalse(deployment._update_state("awaiting_approval"), "already there is no move")
        with self.assertRaisesRegex(UserError, "ledger"):
            deployment.unlink()

    def test_numbers_out_of_range(self):
        for vals in (
            {"workers": 0},
            {"memory_hard_mb": 100},
            {"database_connections_max": 0},
            {"hold_limit_seconds": 100000},
        ):
            with self.subTest(vals):
                self._violates(psycopg2.errors.CheckViolation, lambda vals=vals: self.stage.write(vals))

    def test_connections_within_the_clusters_budget(self):
        with self.assertRaisesRegex(ValidationError, "lower the environments' limits"):
            self.stage.database_connections_max = 80
        self.agent.database_connections_budget = 100
        self.stage.database_connections_max = 80
