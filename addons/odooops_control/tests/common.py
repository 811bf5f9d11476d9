import json
import os
import tempfile
from base64 import b64encode
from pathlib import Path
from unittest.mock import patch

from odoo.tests import HttpCase, TransactionCase, new_test_user

from .. import signing_key
from ..core import protocol

SHA_A, SHA_B, SHA_C = "a" * 40, "b" * 40, "c" * 40
DIGEST_A, DIGEST_B, DIGEST_C = (f"sha256:{digit * 64}" for digit in "123")
DATABASE_UUID = "0c2d3c1e-8f3a-11f0-9d4e-0242ac120002"
PLAN_HASH = "c" * 64
PASSWORD = "odooops-test-password"
_LOOKED_AT = ("lint", "tests", "allowlist", "version")
# What preflight reports of a commit with which nothing is wrong.
PASSED = [
    *({"name": name, "status": "success", "summary": "1 addon: nothing found."} for name in _LOOKED_AT),
    {"name": "risk", "status": "success", "summary": "Risk low.", "facts": {"tier": "low"}},
]


def fixtures_folder():
    """Return the folder of the contract fixtures; a missing one is an error, never a skip."""
    named = os.environ.get("ODOOOPS_FIXTURES")
    candidates = (
        [Path(named)]
        if named
        else [parent / "tests" / "contract" / "fixtures" for parent in Path(__file__).resolve().parents]
    )
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"No contract fixtures in {', '.join(map(str, candidates))}; set ODOOOPS_FIXTURES.")


def fixture(name):
    """Return the JSON of a contract fixture."""
    return json.loads((fixtures_folder() / f"{name}.json").read_text())


class OdooopsSetup:
    """One project with stage and prod, one agent, and people in every role."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._make_signing_key()
        cls.env = cls.env(context={**cls.env.context, "tracking_disable": False, "no_reset_password": True})
        cls.agent, cls.key_text = cls.env["odooops.agent"]._enrol("droplet-test")
        cls.project = cls._make_project("demo")
        cls.stage, cls.prod = cls._make_environments(cls.project, cls.agent)
        cls._make_people()
        cls.env["odooops.approval.policy"]._for_tier("production").write(
            {"staging_soak_minutes": 0, "soak_minutes": 0, "backup_max_age_hours": 0}
        )

    @classmethod
    def _make_signing_key(cls):
        """Give the console the key of the contract's vectors, as its container does at its start."""
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.signing_key_file = Path(folder.name) / "signing.key"
        cls.signing_key_file.write_text(b64encode(b"odooops-tests-everybody-knows-it").decode())
        named = patch.dict(os.environ, {signing_key.VARIABLE: str(cls.signing_key_file)})
        named.start()
        cls.addClassCleanup(named.stop)

    @classmethod
    def _make_project(cls, code):
        return (
            cls.env["odooops.project"]
            .sudo()
            .create({"name": code.title(), "code": code, "image_repository": f"localhost:5000/{code}"})
        )

    @classmethod
    def _make_environments(cls, project, agent):
        return cls.env["odooops.environment"].create(
            [
                {"project_id": project.id, "code": code, "agent_id": agent.id, "module_names": "workshop"}
                for code in ("stage", "prod")
            ]
        )

    @classmethod
    def _make_people(cls):
        cls.viewer = cls._person("ops_viewer", "group_viewer", "viewer")
        cls.developer = cls._person("ops_developer", "group_developer", "developer")
        cls.manager = cls._person("ops_manager", "group_release_manager", "release_manager")
        cls.manager_2 = cls._person("ops_manager_2", "group_release_manager", "release_manager")
        cls.administrator = cls._person("ops_administrator", "group_administrator", None)
        cls.outsider = cls._person("ops_outsider", "group_release_manager", None)
        cls.internal = new_test_user(cls.env, "ops_internal", groups="base.group_user", password=PASSWORD)
        cls.portal = new_test_user(cls.env, "ops_portal", groups="base.group_portal", password=PASSWORD)
        cls.ci = cls.env["res.users"].sudo()._create_service_user("CI", "ops-ci", "odooops_control.group_ci")
        cls._join(cls.ci, "ci")

    @classmethod
    def _person(cls, login, group, role):
        # Odoo's own default is one address for all of them, and who shares an address is one person.
        email = f"{login}@example.com"
        user = new_test_user(cls.env, login, groups=f"odooops_control.{group}", password=PASSWORD, email=email)
        if role:
            cls._join(user, role)
        return user

    @classmethod
    def _join(cls, user, role, project=None):
        project = project or cls.project
        cls.env["odooops.project.member"].create({"project_id": project.id, "user_id": user.id, "role": role})

    # CI

    @classmethod
    def _register(cls, ref="refs/heads/main", sha=SHA_A, digest=DIGEST_A, user=None, **values):
        Release = cls.env["odooops.release"].with_user(user or cls.ci)
        values.setdefault("project", "demo")
        values.setdefault("image", f"localhost:5000/{values['project']}@{digest}")
        return Release.register(ref=ref, commit_sha=sha, **values)

    @classmethod
    def _request(cls, environment="demo/prod", ref="refs/tags/v1.0.0", sha=SHA_A, user=None):
        Deployment = cls.env["odooops.deployment"].with_user(user or cls.ci)
        answer = Deployment.request(environment=environment, ref=ref, commit_sha=sha)
        return cls.env["odooops.deployment"].browse(answer["id"])

    @classmethod
    def _enqueue_for_nobody(cls, kind, environment):
        """Queue an operation that belongs to nothing which anybody could have agreed to."""
        with patch.object(cls.env.registry["odooops.operation"], "_needs_grant", lambda _operation: False):
            return cls.env["odooops.operation"]._enqueue(kind, environment)

    # The agent, as the routes call it

    @classmethod
    def _lease(cls, kinds=("plan", "deploy"), tokens=None, agent=None):
        return cls.env["odooops.operation"].sudo()._lease_next(agent or cls.agent, kinds, tokens or {})

    @classmethod
    def _finish(cls, operation, outcome="succeeded", result=None, error=None):
        operation._finish(
            protocol.Finish.from_json(
                {
                    "operation_id": operation.id,
                    "token": operation.token,
                    "outcome": outcome,
                    "result": result or {},
                    "error": error,
                }
            )
        )

    @classmethod
    def _plan_result(cls, operation, plan_hash=PLAN_HASH, modules=()):
        return {
            "plan": {
                "schema": 1,
                "environment": operation.environment_id.key,
                "database_uuid": operation.environment_id.database_uuid or None,
                "from_digest": operation.environment_id.running_digest or None,
                "to_digest": operation.deployment_id.release_id.digest,
                "config_hash": "d" * 64,
                "modules": list(modules),
                "migrations": [],
                "policy_version": operation.environment_id.policy_id._reference(),
            },
            "plan_hash": plan_hash,
            "facts": {"needs_hold": bool(modules)},
        }

    @classmethod
    def _deploy_result(cls, operation, **values):
        return {
            "digest": operation.deployment_id.release_id.digest,
            "database_uuid": operation.environment_id.database_uuid or DATABASE_UUID,
            "plan_hash": operation.deployment_id.plan_hash,
            "held_seconds": 1.5,
            "update_seconds": 1.0,
            "health": "green",
            "restore_set": None,
            **values,
        }

    @classmethod
    def _plan(cls, deployment, plan_hash=PLAN_HASH, **values):
        """Have the agent plan the deployment."""
        operation = cls._lease(("plan",))
        assert operation.deployment_id == deployment, operation
        cls._finish(operation, result=cls._plan_result(operation, plan_hash, **values))
        return deployment

    @classmethod
    def _deploy(cls, deployment, **values):
        """Have the agent carry the queued deployment out."""
        operation = cls._lease(("deploy",))
        assert operation.deployment_id == deployment, operation
        cls._finish(operation, result=cls._deploy_result(operation, **values))
        return deployment

    @classmethod
    def _live_on_stage(cls, tag="v1.0.0", sha=SHA_A, digest=DIGEST_A, checks=PASSED):
        """Register a release with its checks, bring it to stage, tag it."""
        cls._register(sha=sha, digest=digest, checks=checks)
        release = cls.env["odooops.release"].search([("commit_sha", "=", sha)])
        deployment = release.deployment_ids.filtered(lambda one: one.tier == "staging")
        cls._plan(deployment)
        cls._deploy(deployment)
        assert deployment.state == "live", deployment.state
        cls._register(f"refs/tags/{tag}", sha=sha, digest=digest)
        return release

    @classmethod
    def _awaiting(cls, tag="v1.0.0", sha=SHA_A, digest=DIGEST_A, plan_hash=PLAN_HASH, checks=PASSED):
        """Return a production deployment that waits for approval."""
        cls._live_on_stage(tag, sha, digest, checks)
        return cls._plan(cls._request(ref=f"refs/tags/{tag}", sha=sha), plan_hash)

    @classmethod
    def _live_on_prod(cls, **values):
        deployment = cls._awaiting(**values)
        deployment._approve(cls.manager, deployment.plan_hash, "looked")
        return cls._deploy(deployment)


class OdooopsCase(OdooopsSetup, TransactionCase):
    """Tests inside one transaction."""


class OdooopsHttpCase(OdooopsSetup, HttpCase):
    """Tests over HTTP."""

    def _post(self, route, message, key=None, headers=None):
        """Post a message to an agent route and return ``(status, JSON)``."""
        headers = headers if headers is not None else {"Authorization": f"Bearer {key or self.key_text}"}
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        response = self.url_open(
            f"/odooops/agent/v1/{route}", data=data, headers={"Content-Type": "application/json", **headers}
        )
        return response.status_code, response.json()

    def _lease_message(self, kinds=("plan", "deploy"), **tokens):
        return {**fixture("lease_request"), "kinds": list(kinds), "tokens": tokens}

    def _json2(self, model, method, key, /, **arguments):
        """Call a method over ``/json/2`` and return ``(status, JSON)``."""
        response = self.url_open(
            f"/json/2/{model}/{method}",
            data=json.dumps(arguments).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        )
        return response.status_code, response.json()

    def _api_key(self, user):
        return self.env["res.users.apikeys"].with_user(user).sudo()._generate(None, "test", False)
