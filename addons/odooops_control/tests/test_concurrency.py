import threading
from contextlib import contextmanager
from unittest.mock import patch

import psycopg2

from odoo import api, fields
from odoo.addons.base.models.ir_cron import IrCron
from odoo.modules.registry import Registry
from odoo.service.model import retrying
from odoo.sql_db import db_connect
from odoo.tests import tagged
from odoo.tests.common import BaseCase, get_db_name
from odoo.tools import mute_logger

from ..core import chain

SHA, DIGEST = "9" * 40, "sha256:" + "9" * 64


@tagged("post_install", "-at_install")
class TestConcurrency(BaseCase):
    """Two transactions at once, on real cursors; what they leave is taken away afterwards."""

    def setUp(self):
        super().setUp()
        self.registry = Registry(get_db_name())
        self.connection = db_connect(get_db_name())
        self.addCleanup(self._clean)
        with self._env() as env:
            agent, _key = env["odooops.agent"]._enrol("droplet-race")
            project = env["odooops.project"].create({"name": "Race", "code": "race"})
            environments = env["odooops.environment"].create(
                [{"project_id": project.id, "code": code, "agent_id": agent.id} for code in ("stage", "prod")]
            )
            env["odooops.project.member"].create(
                {"project_id": project.id, "user_id": api.SUPERUSER_ID, "role": "release_manager"}
            )
            self.agent_id, self.project_id, self.stage_id = agent.id, project.id, environments[0].id

    @contextmanager
    def _env(self):
        with self.connection.cursor() as cr:
            yield api.Environment(cr, api.SUPERUSER_ID, {})

    def _clean(self):
        with self._env() as env:
            user_id = env["odooops.agent"].browse(self.agent_id).user_id.id
            for query in (
                "DELETE FROM odooops_event WHERE project_id = %(project)s OR delivery_id = 'race-of-a-thousand'",
                "UPDATE odooops_environment SET running_deployment_id = NULL WHERE project_id = %(project)s",
                "DELETE FROM odooops_operation WHERE agent_id = %(agent)s",
                "DELETE FROM odooops_rollback_request WHERE project_id = %(project)s",
                "DELETE FROM odooops_deployment WHERE project_id = %(project)s",
                "DELETE FROM odooops_release WHERE project_id = %(project)s",
                "DELETE FROM odooops_environment WHERE project_id = %(project)s",
                "DELETE FROM odooops_project WHERE id = %(project)s",
                "DELETE FROM odooops_agent WHERE id = %(agent)s",
            ):
                env.cr.execute(query, {"project": self.project_id, "agent": self.agent_id})
            env.cr.commit()
            env["res.users"].browse(user_id).unlink()

    def _at_once(self, function, count=2):
        """Run ``function(env)`` in threads that begin together, as HTTP workers do; return what came out."""
        barrier, results = threading.Barrier(count), []

        def work():
            with self._env() as env:
                env.cr.execute("SELECT 1")
                barrier.wait(10)
                try:
                    results.append(retrying(lambda: function(env), env))
                except Exception as error:  # noqa: BLE001  the test looks at it
                    results.append(error)

        threads = [threading.Thread(target=work) for _number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return results

    def _enqueue(self, *kinds):
        with self._env() as env:
            environment = env["odooops.environment"].browse(self.stage_id)
            return [env["odooops.operation"]._enqueue(kind, environment).id for kind in kinds]

    def _two_that_ran(self, env):
        """Leave two releases in the ledger of stage, the second of which runs."""
        for number, tag in ((1, "v1.0.0"), (2, "v1.1.0")):
            values = {"project_id": self.project_id, "commit_sha": f"{number}" * 40, "image": "race"}
            release = env["odooops.release"].create({**values, "digest": f"sha256:{number}" + "0" * 63})
            env["odooops.release.tag"].create({"release_id": release.id, "name": tag})
            running = env["odooops.deployment"].create(
                {
                    "environment_id": self.stage_id,
                    "release_id": release.id,
                    "tag": tag,
                    "tier": "staging",
                    "state": "superseded" if number == 1 else "live",
                    "live_at": fields.Datetime.now(),
                }
            )
        running.environment_id.running_deployment_id = running

    @mute_logger("odoo.sql_db", "odoo.service.model")
    def test_a_rollback_asked_for_twice_at_once_is_one(self):
        with self._env() as env:
            self._two_that_ran(env)

        def submit(env):
            return env["odooops.rollback.request"].submit("race/stage", "v1.0.0", "orders fail")

        answers = self._at_once(submit)
        self.assertEqual(sorted(answer["new"] for answer in answers), [False, True], answers)
        self.assertEqual(len({answer["id"] for answer in answers}), 1)

    @mute_logger("odoo.sql_db", "odoo.service.model")
    def _two_deciding(self, addresses, needed):
        """Leave a deployment on stage that waits for two release managers; return its id and theirs."""
        with self._env() as env:
            group = env.ref("odooops_control.group_release_manager")
            rules = {"name": "Race", "approvals_needed": needed, "backup_max_age_hours": 0}
            policy = env["odooops.approval.policy"].create(rules)
            users = env["res.users"].create(
                [
                    {"name": f"Race {number}", "login": f"race_{number}", "email": email, "group_ids": [(4, group.id)]}
                    for number, email in enumerate(addresses)
                ]
            )
            env["odooops.project.member"].create(
                [{"project_id": self.project_id, "user_id": user.id, "role": "release_manager"} for user in users]
            )
            stage = env["odooops.environment"].browse(self.stage_id)
            stage.policy_id = policy
            release = env["odooops.release"].create(
                {"project_id": self.project_id, "commit_sha": SHA, "image": "race", "digest": DIGEST}
            )
            values = {"environment_id": stage.id, "release_id": release.id, "tag": "v9.0.0", "tier": "staging"}
            deployment = env["odooops.deployment"].create(
                {
                    **values,
                    "state": "awaiting_approval",
                    "plan": {"modules": []},
                    "plan_hash": "c" * 64,
                    "policy_reference": policy._reference(),
                }
            )
            env.cr.commit()
        self.addCleanup(self._forget_deciding, users.ids, policy.id)
        return deployment.id, users.ids

    def _forget_deciding(self, users, policy):
        with self._env() as env:
            env.cr.execute("DELETE FROM odooops_approval WHERE project_id = %s", (self.project_id,))
            env["odooops.environment"].browse(self.stage_id).policy_id = False
            env["odooops.approval.policy"].browse(policy).unlink()
            env["res.users"].browse(users).unlink()
            env.cr.commit()

    def _decide_at_once(self, deployment, *decisions):
        """Have each person decide in a transaction of their own, all begun before the first ends."""
        left, lock = list(decisions), threading.Lock()

        def decide(env):
            thread = threading.current_thread()
            with lock:
                thread.decision = getattr(thread, "decision", None) or left.pop()
            method, user = thread.decision
            record = env["odooops.deployment"].browse(deployment)
            getattr(record, method)(env["res.users"].browse(user), "c" * 64, "raced")
            return method

        with mute_logger("odoo.sql_db", "odoo.service.model"):
            return self._at_once(decide, len(decisions))

    def _decided(self, deployment):
        with self._env() as env:
            record = env["odooops.deployment"].browse(deployment)
            return record.state, sorted(record.approval_ids.mapped("decision"))

    def test_an_approval_and_a_rejection_at_once(self):
        deployment, (one, other) = self._two_deciding(("one@example.com", "other@example.com"), 1)
        results = self._decide_at_once(deployment, ("_approve", one), ("_reject", other))
        [done] = [result for result in results if isinstance(result, str)]
        [refused] = [result for result in results if not isinstance(result, str)]
        self.assertIn("can't be decided any more", str(refused))
        wanted = {"_approve": ("queued", ["approved"]), "_reject": ("rejected", ["rejected"])}
        self.assertEqual(self._decided(deployment), wanted[done])

    def test_two_approvals_and_a_second_account_at_once(self):
        addresses = ("one@example.com", "One@example.com")
        deployment, (one, twin) = self._two_deciding(addresses, 2)
        results = self._decide_at_once(deployment, ("_approve", one), ("_approve", twin))
        self.assertEqual(results.count("_approve"), 1, results)
        self.assertEqual(self._decided(deployment), ("awaiting_approval", ["approved"]))

    def test_one_operation_is_leased_once(self):
        self._enqueue("plan")

        def lease(env):
            agent = env["odooops.agent"].browse(self.agent_id)
            return env["odooops.operation"]._lease_next(agent, ("plan",), {}).ids

        results = self._at_once(lease)
        self.assertEqual(sorted(map(len, results)), [0, 1], results)

    @mute_logger("odoo.sql_db", "odoo.service.model")
    def test_two_exclusive_operations_are_not_leased_together(self):
        self._enqueue("rollback", "destroy")

        self._limit_heavy(2)
        self._lease_at_once("rollback", "destroy")

    @mute_logger("odoo.sql_db", "odoo.service.model")
    def test_two_heavy_operations_are_not_leased_together(self):
        self._enqueue("rollback")
        with self._env() as env:
            prod = env["odooops.environment"].search([("project_id", "=", self.project_id), ("code", "=", "prod")])
            # It belongs to nothing that anybody could have agreed to.
            with patch.object(env.registry["odooops.operation"], "_needs_grant", lambda _operation: False):
                env["odooops.operation"]._enqueue("destroy", prod)
        self._limit_heavy(1)
        self._lease_at_once("rollback", "destroy")

    def _limit_heavy(self, limit):
        with self._env() as env:
            env["odooops.agent"].browse(self.agent_id).heavy_limit = limit

    def _lease_at_once(self, *kinds):
        """Have two calls lease at once, of which one may get something."""
        both_chose = threading.Barrier(2)
        tries = []

        def lease(env):
            tries.append(1)
            agent = env["odooops.agent"].browse(self.agent_id)
            env["odooops.operation"].search([]).mapped("state")
            if len(tries) <= 2:
                both_chose.wait(10)
            return env["odooops.operation"]._lease_next(agent, kinds, {}).ids

        results = self._at_once(lease)
        self.assertEqual(sorted(map(len, results)), [0, 1], results)

    @mute_logger("odoo.sql_db")
    def test_index_holds_where_snapshots_do_not_see_each_other(self):
        first, second = self._enqueue("rollback", "destroy")
        with self._env() as one, self._env() as two:
            for env in (one, two):
                env.cr.execute("SELECT 1")
            one["odooops.operation"].browse(first).state = "leased"
            one.cr.commit()
            two["odooops.operation"].browse(second).state = "leased"
            with self.assertRaises(psycopg2.errors.UniqueViolation):
                two.flush_all()
            two.cr.rollback()

    def test_locked_operation_is_skipped(self):
        first, second = self._enqueue("plan", "plan")
        with self._env() as one, self._env() as two:
            one["odooops.operation"].browse(first).lock_for_update()
            agent = two["odooops.agent"].browse(self.agent_id)
            self.assertEqual(two["odooops.operation"]._lease_next(agent, ("plan",), {}).id, second)
            two.cr.rollback()

    @mute_logger("odoo.sql_db", "odoo.service.model")
    def test_registered_twice_at_once(self):
        def register(env):
            return env["odooops.release"].register(
                project="race", ref="refs/heads/main", commit_sha=SHA, image=f"localhost:5000/race@{DIGEST}"
            )

        results = self._at_once(register)
        self.assertEqual(len({result["id"] for result in results}), 1, results)
        self.assertEqual(sorted(result["new"] for result in results), [False, True])
        with self._env() as env:
            self.assertEqual(len(env["odooops.environment"].browse(self.stage_id).deployment_ids), 1)

    @mute_logger("odoo.sql_db", "odoo.service.model")
    def test_a_thousand_deliveries_of_one_id_have_one_effect(self):
        """In groups of 20, as many as a busy server has connections; each as GitHub's door takes it in."""
        payload = {"ref": "refs/heads/main", "before": SHA, "after": SHA, "repository": {"id": 1, "full_name": "a/b"}}
        total = []

        def take_in(env):
            new = env["odooops.event"]._take_in("race-of-a-thousand", "push", "", payload)
            env.cr.commit()
            return new

        with patch.object(IrCron, "_notifydb"):
            for _group in range(50):
                total += self._at_once(take_in, 20)
        self.assertEqual(
            (total.count(True), total.count(False)), (1, 999), [one for one in total if one not in (True, False)]
        )
        with self._env() as env:
            self.assertEqual(env["odooops.event"].search_count([("delivery_id", "=", "race-of-a-thousand")]), 1)

    @mute_logger("odoo.sql_db", "odoo.service.model")
    def test_audit_chain_does_not_fork(self):
        def record(env):
            env["odooops.audit.event"]._record(env["odooops.project"].browse(self.project_id), "test.race")
            return True

        for _time in range(5):
            self.assertEqual(self._at_once(record, 3), [True] * 3)
        with self._env() as env:
            events = env["odooops.audit.event"].search([], order="id")
            self.assertTrue(env["odooops.audit.event"].verify()["ok"])
            self.assertEqual(events[0].previous_hash, chain.GENESIS)

    def test_lease_of_a_day_ago_expires_once(self):
        [operation_id] = self._enqueue("plan")
        with self._env() as env:
            yesterday = fields.Datetime.subtract(fields.Datetime.now(), days=1)
            env["odooops.operation"].browse(operation_id).write(
                {"state": "leased", "attempt": 1, "token": 1, "lease_until": yesterday}
            )

        def expire(env):
            env["odooops.operation"]._expire_leases()
            return env["odooops.operation"].browse(operation_id).state

        with mute_logger("odoo.sql_db", "odoo.service.model"):
            self._at_once(expire)
        with self._env() as env:
            self.assertEqual(env["odooops.operation"].browse(operation_id).state, "queued")
