import json
import logging
import socket
from datetime import timedelta
from unittest.mock import patch
from urllib.parse import urlsplit

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .. import secret_files
from ..core import github_events, github_signature
from .common import SHA_A, SHA_B, SHA_C, OdooopsCase, OdooopsHttpCase
from .common_github import NO_COMMIT, REPOSITORY, SECRET, GithubSetup, examples, push

ROUTE = "/odooops/github/webhook"


@tagged("post_install", "-at_install")
class TestGithubWebhook(GithubSetup, OdooopsHttpCase):
    """The door: who is let in, and what is left outside."""

    def setUp(self):
        super().setUp()
        self._lend_secrets()
        self.project.github_repository = "acme/demo"

    def _send(self, payload, headers=None, **values):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        response = self.url_open(ROUTE, data=body, headers={**self._headers(body, **values), **(headers or {})})
        return response.status_code, response.json()

    def _events(self):
        return self.env["odooops.event"].search([("provider", "=", "github")])

    def test_noted_once_and_processed_afterwards(self):
        self.assertEqual(self._send(push()), (202, {"message": "Noted."}))
        self.assertEqual(self._send(push()), (202, {"message": "Noted before."}))
        event = self._events()
        self.assertEqual((len(event), event.state, event.kind), (1, "received", "push"))
        self.assertFalse(event.user_id)
        event._process()
        self.assertEqual((event.state, event.project_id), ("processed", self.project))
        self.assertIn("main is at bbbbbbb", event.outcome)

    def test_wakes_its_cron(self):
        cron = self.env.ref("odooops_control.cron_github_events")
        before = self.env["ir.cron.trigger"].search_count([("cron_id", "=", cron.id)])
        self._send(push())
        self._send(push())
        self._send({"zen": 1}, kind="star", delivery="d-2")
        self.assertEqual(self.env["ir.cron.trigger"].search_count([("cron_id", "=", cron.id)]), before + 1)

    def test_cron_processes_what_waits(self):
        self._send(push())
        self._send(push(ref=7), delivery="d-2")
        self._send(push(after=SHA_C), delivery="d-3")
        self.env.flush_all()
        with self.enter_registry_test_mode():
            self.env.ref("odooops_control.cron_github_events").method_direct_trigger()
        states = {event.delivery_id: event.state for event in self._events()}
        self.assertEqual(states, {"d-1": "processed", "d-2": "failed", "d-3": "processed"})

    @mute_logger("odoo.addons.odooops_control.secret_files")
    def test_without_a_secret_nothing_is_stored(self):
        for secrets in ({"other": "x"}, {"webhook_secret": ""}, {"webhook_secret": "too short"}):
            self._lend_secrets(**secrets)
            with self.subTest(secrets=secrets):
                status, answer = self._send(push())
                self.assertEqual(status, 503)
                self.assertIn("No webhook secret is set", answer["message"])
        with patch.dict("os.environ"):
            secret_files.os.environ.pop(secret_files.VARIABLE)
            self.assertEqual(self._send(push())[0], 503)
        self.assertFalse(self._events())

    def test_who_is_not_let_in(self):
        body = json.dumps(push()).encode()
        cases = (
            (401, {"secret": "another-secret-of-some-length"}),
            (401, {"X-Hub-Signature-256": None}),
            (401, {"X-Hub-Signature-256": "sha256=" + "0" * 64}),
            (401, {"X-Hub-Signature-256": "sha1=" + "0" * 40}),
            (401, {"X-Hub-Signature-256": github_signature.signature(SECRET, body + b" ")}),
            (400, {"delivery": None}),
            (400, {"delivery": "a b; drop"}),
            (400, {"delivery": "x" * 101}),
            (400, {"kind": None}),
            (400, {"kind": "Push'"}),
            (415, {"Content-Type": "text/plain"}),
            (415, {"Content-Type": "application/x-www-form-urlencoded"}),
        )
        for expected, values in cases:
            with self.subTest(values=values):
                status, answer = self._send(body, **values)
                self.assertEqual(status, expected, answer)
                self.assertNotIn("\n", answer["message"])
                self.assertNotIn(SECRET, answer["message"])
        self.assertFalse(self._events())

    def test_what_is_no_json_object(self):
        for body in (b" ", b"{", b"[]", b"7", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000):
            with self.subTest(body=body[:20]):
                self.assertEqual(self._send(body)[0], 400)
        self.assertFalse(self._events())

    def test_what_postgresql_refuses_in_texts(self):
        self.assertEqual(self._send(b'{"ref": "refs/heads/a\\u0000b\\ud800", "repository": {"id": 1}}')[0], 202)

    def test_too_large_is_refused_before_it_is_read(self):
        """30 MB are announced and never sent: an answer comes all the same."""
        parts = urlsplit(self.base_url())
        with self.allow_requests(), socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
            connection.sendall(
                f"POST {ROUTE} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
                f"X-GitHub-Event: push\r\nX-GitHub-Delivery: d-9\r\nX-Hub-Signature-256: sha256={'0' * 64}\r\n"
                f"Cookie: {'; '.join(f'{name}={value}' for name, value in self.opener.cookies.items())}\r\n"
                f"Content-Length: {30 * 2**20}\r\n\r\n".encode()
            )
            self.assertIn(b" 413 ", connection.recv(100))
        self.assertFalse(self._events())

    def test_both_secrets_count_while_one_replaces_the_other(self):
        self._lend_secrets(webhook_secret=f"{SECRET}\na-newer-secret-of-the-tests\n")
        self.assertEqual(self._send(push())[0], 202)
        self.assertEqual(self._send(push(), delivery="d-2", secret="a-newer-secret-of-the-tests")[0], 202)

    def test_secret_of_a_project(self):
        own = "the-own-secret-of-demo"
        self._lend_secrets(
            webhook_secret=SECRET, demo__webhook_secret=own, other__webhook_secret="secret-of-another-one"
        )
        for number, (secret, state) in enumerate(
            ((own, "processed"), (SECRET, "failed"), ("secret-of-another-one", "failed"))
        ):
            self._send(push(), delivery=f"d-{number}", secret=secret)
            event = self._events()[:1]
            event._process()
            with self.subTest(number=number):
                self.assertEqual(event.state, state, event.error)

    def test_every_example_of_github(self):
        for number, one in enumerate(examples()):
            status, _answer = self._send(one["payload"], kind=one["kind"], delivery=f"example-{number}")
            self.assertEqual(status, 202)
        events = self._events()
        self.assertEqual(len(events), len(examples()))
        ignored = events.filtered(lambda event: event.kind not in github_events.KEPT)
        self.assertEqual(set(ignored.mapped("state")), {"ignored"})
        self.assertFalse(any(ignored.mapped("payload")))
        (events - ignored)._process()
        self.assertEqual(set((events - ignored).mapped("state")), {"processed"})

    def test_every_example_of_github_about_a_project(self):
        """The examples' repository is the project's: every handler runs."""
        for name in ("Codertocat/Hello-World", "octo-org/octo-repo", "Octocoders/Hello-World"):
            self.project.write({"github_repository": name, "github_repository_key": False})
            for number, one in enumerate(examples()):
                repository = one["payload"].get("repository") or {}
                if repository.get("full_name") == name and one["kind"] in github_events.KEPT:
                    self.project.github_repository_key = False
                    self._send(one["payload"], kind=one["kind"], delivery=f"{name.replace('/', '-')}-{number}")
                    event = self._events()[:1]
                    event._process()
                    with self.subTest(kind=one["kind"], number=one["number"], source=one["source"]):
                        self.assertEqual((event.state, event.project_id), ("processed", self.project), event.error)

    def test_secrets_are_not_in_the_database(self):
        self._send(push())
        self._events()._process()
        self.env.flush_all()
        self.env.cr.execute(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND data_type IN ('text', 'character varying', 'jsonb')"
        )
        for table, column in self.env.cr.fetchall():
            self.env.cr.execute(f'SELECT 1 FROM "{table}" WHERE "{column}"::text LIKE %s LIMIT 1', [f"%{SECRET}%"])
            self.assertFalse(self.env.cr.fetchone(), f"{table}.{column}")

    def test_secrets_do_not_print(self):
        [(_owner, secret)] = secret_files.webhook_secrets()
        self.assertEqual(f"{[secret]!r}", "[Secret(…)]")
        with self.assertLogs("odoo.addons.odooops_control.secret_files", logging.ERROR) as logs:
            self._lend_secrets(webhook_secret="short-one")
            self.assertEqual(secret_files.webhook_secrets(), [])
        self.assertNotIn("short-one", "".join(logs.output))

    @mute_logger("odoo.addons.odooops_control.secret_files")
    def test_a_bad_secret_of_its_own_opens_the_project_to_no_other(self):
        self.assertEqual(self.project._webhook_owner(), "")
        self._lend_secrets(webhook_secret=SECRET, **{"demo.webhook_secret": "short-one"})
        self.assertEqual([owner for owner, _secret in secret_files.webhook_secrets()], [""])
        self.assertEqual(self.project._webhook_owner(), "demo")


@tagged("post_install", "-at_install")
class TestGithubEvents(GithubSetup, OdooopsCase):
    """What deliveries do."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.project.github_repository = "Acme/Demo"

    def _activities(self, record):
        return record.activity_ids.filtered(
            lambda one: one.activity_type_id == self.env.ref("mail.mail_activity_data_warning")
        )

    def test_learns_the_ids_of_the_repository(self):
        self._delivered("ping", {"hook_id": 5, "repository": REPOSITORY})
        self.assertEqual((self.project.github_repository_key, self.project.github_owner_key), ("4711", "11"))
        self._delivered("push", push(repository={**REPOSITORY, "full_name": "acme/renamed"}))
        self.assertEqual(self.project.github_repository, "acme/renamed")

    def test_another_repository_under_the_old_name(self):
        self._delivered("ping", {"hook_id": 5, "repository": REPOSITORY})
        event = self._delivered("push", push(repository={**REPOSITORY, "id": 4712}))
        self.assertEqual(event.state, "failed")
        self.assertIn("another one under that name", event.error)
        self.assertEqual(self.project.github_repository_key, "4711")

    def test_repository_of_nobody(self):
        event = self._delivered("push", push(repository={**REPOSITORY, "full_name": "acme/other"}))
        self.assertEqual((event.state, event.project_id.id), ("processed", False))
        wildcard = self._delivered("push", push(repository={**REPOSITORY, "full_name": "acme/de_o"}))
        self.assertFalse(wildcard.project_id)

    def test_branches_are_whole_and_deletions_deploy_nothing(self):
        event = self._delivered("push", push("refs/heads/feature/a/b"))
        self.assertIn("Branch feature/a/b is at bbbbbbb", event.outcome)
        for name in ("feature/a/b", "main"):
            event = self._delivered("push", push(f"refs/heads/{name}", after=NO_COMMIT, deleted=True))
            self.assertIn("was deleted", event.outcome)
        self.assertFalse(self.project.environment_ids.deployment_ids)

    def test_main_pushed_by_force(self):
        self._delivered("push", push(forced=True))
        self._delivered("push", push(forced=True, after=SHA_C))
        activities = self._activities(self.project)
        self.assertEqual(activities.user_id, self.manager | self.manager_2)
        self.assertEqual(len(activities), 2, "one for each, however often")
        self.assertIn("mona", activities[0].note)
        self._delivered("push", push("refs/heads/feature", forced=True))
        self.assertEqual(len(self._activities(self.project)), 2)

    def test_moved_tag(self):
        self._register("refs/tags/v1.0.0")
        release = self.project.release_ids
        for values in (
            {"before": SHA_A, "after": SHA_B, "forced": True, "head_commit": {"id": SHA_B}},
            # Deleted and made anew: it was moved all the same.
            {"before": NO_COMMIT, "after": SHA_B, "created": True, "head_commit": {"id": SHA_B}},
        ):
            release.activity_ids.unlink()
            event = self._delivered("push", push("refs/tags/v1.0.0", **values))
            self.assertIn("Refused: mona moved tag v1.0.0", event.outcome)
            self.assertEqual(self._activities(release).user_id, self.manager | self.manager_2)
            self.assertEqual((release.tag_ids[:1].name, release.commit_sha), ("v1.0.0", SHA_A))
        self.assertEqual(len(self.project.release_ids), 1)

    def test_tag_that_stays(self):
        self._register("refs/tags/v1.0.0")
        annotated = {"before": NO_COMMIT, "after": SHA_C, "created": True, "head_commit": {"id": SHA_A}}
        for values in ({"before": NO_COMMIT, "after": SHA_A, "created": True}, annotated):
            self.assertIn("is where it was", self._delivered("push", push("refs/tags/v1.0.0", **values)).outcome)
        gone = self._delivered("push", push("refs/tags/v1.0.0", after=NO_COMMIT, deleted=True))
        self.assertIn("goes on naming aaaaaaa", gone.outcome)
        self.assertFalse(self._activities(self.project.release_ids))

    def test_failed_workflow_is_told_on_its_release(self):
        self._register()
        run = {
            "name": "Deploy",
            "head_sha": SHA_A,
            "head_branch": "main",
            "status": "completed",
            "conclusion": "failure",
        }
        payload = {"action": "completed", "repository": REPOSITORY, "workflow_run": run}
        self._delivered("workflow_run", payload)
        self.assertIn("Workflow Deploy on aaaaaaa: failure", self.project.release_ids.message_ids[:1].body)
        before = len(self.project.release_ids.message_ids)
        fork = {**payload, "workflow_run": {**run, "head_repository": {"id": 9}}}
        self._delivered("workflow_run", fork)
        self.assertEqual(len(self.project.release_ids.message_ids), before)

    def test_replayed_after_a_year(self):
        event = self._delivered("push", push(forced=True))
        self.project.activity_ids.unlink()
        year = fields.Datetime.now() - timedelta(days=366)
        self.env.cr.execute("UPDATE odooops_event SET create_date = %s WHERE id = %s", [year, event.id])
        event.invalidate_recordset()
        ignored = self._delivered("star", {})
        self.env.cr.execute("UPDATE odooops_event SET create_date = %s WHERE id = %s", [year, ignored.id])
        ignored.invalidate_recordset()
        self.env["odooops.event"]._gc_events()
        self.assertTrue(event.exists())
        self.assertFalse(event.payload)
        self.assertFalse(ignored.exists())
        is_new = self.env["odooops.event"]._take_in(event.delivery_id, "push", "", push(forced=True))
        self.assertFalse(is_new)
        self.assertEqual(event.state, "processed")
        self.assertFalse(self._activities(self.project))

    def test_process_again(self):
        event = self._delivered("push", push(repository={**REPOSITORY, "full_name": "acme/later"}))
        self.project.github_repository = "acme/later"
        with self.assertRaises(AccessError):
            event.with_user(self.manager).action_replay()
        event.with_user(self.administrator).action_replay()
        self.assertEqual(event.project_id, self.project)
        self.assertIn("CI builds", event.outcome)
        self.env.cr.precommit.run()
        audit = self.env["odooops.audit.event"].search([("action", "=", "event.replayed")])
        self.assertEqual(audit.details["kind"], "push")
        with self.assertRaisesRegex(UserError, "can't be replayed"):
            self._delivered("star", {}).with_user(self.administrator).action_replay()

    def test_one_failure_hinders_no_other(self):
        Event = self.env["odooops.event"]
        for number, payload in enumerate((push(), push(ref=7), push(after=SHA_C))):
            Event._take_in(f"d-{number}", "push", "", payload)
        events = Event.search([("provider", "=", "github")], order="id")

        def break_down(project, event):
            if event.after == SHA_C:
                raise ZeroDivisionError
            return "fine"

        with (
            patch.object(type(self.project), "_on_github_push", break_down),
            mute_logger("odoo.addons.odooops_control.models.event_github"),
        ):
            events._process()
        self.assertEqual(events.mapped("state"), ["processed", "failed", "failed"])
        self.assertEqual(events[1].error, "push: ref is not a text.")
        self.assertIn("its log has the reason", events[2].error)
        events[2]._process()
        self.assertEqual(events[2].state, "processed")

    def test_who_sees_deliveries(self):
        of_demo, of_nobody = self._delivered("push", push()), self._delivered("star", {})
        self.assertEqual(of_demo.with_user(self.viewer).outcome, of_demo.outcome)
        for user, event in (
            (self.outsider, of_demo),
            (self.viewer, of_nobody),
            (self.ci, of_demo),
            (self.portal, of_demo),
        ):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                event.with_user(user).read(["payload"])

    def test_bad_names_on_projects(self):
        for value in ("acme", "acme/demo/x", "https://github.com/acme/demo", "acme/de mo", "-a/b"):
            with self.subTest(value=value), self.assertRaisesRegex(UserError, "owner/name"):
                self.project.github_repository = value
        self.project.github_repository = "acme/demo"
        with self.assertRaisesRegex(UserError, "are numbers"):
            self.project.github_repository_key = "x7"
