from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import conditions, names, transitions
from .deployment import _ASK_AGAIN
from .mixins import Conflict, says_bad_names

_AGENT_AWAY_SECONDS = 15


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    @api.model
    @says_bad_names
    def request(self, environment, ref, commit_sha=None, force=False):
        """Ask for a deployment; the same call again returns the one that is under way or live.

        :param str environment: ``demo/prod``, or ``prod`` while there is one project
        :param str ref: ``refs/heads/main`` or ``refs/tags/v*``
        :param str commit_sha: 40 hex digits; may be left out with a tag
        :param bool force: deploy what is live once more, so that a changed configuration is applied
        :return: id, state, environment, tag, and whether it is new
        :raises: 403 without the role, 404 for what the caller can't see, 409 while another one is
            under way on production, 422 for what may not go there
        """
        target = self.env["odooops.environment"]._find(environment)
        target.project_id._require_role("ci", "developer", "release_manager")
        release, tag = self._find_release(target, ref, commit_sha)
        deployment, is_new = self._request(target, release, tag, force=bool(force))
        delivery = f"request:{target.key}:{tag}:{deployment.id}"
        self.env["odooops.event"]._receive("ci", delivery, "deployment.request", target.project_id)
        return {**deployment._status(), "new": is_new}

    @api.model
    def _find_release(self, environment, ref, commit_sha):
        """Return the release that ``ref`` names, and the name it goes by."""
        project = environment.project_id
        parsed = names.parse_ref(ref, project.main_branch)
        if commit_sha is not None:
            names.require_commit(commit_sha)
        if parsed.kind == "tag":
            return self._find_tagged(project, parsed.name, commit_sha), parsed.name
        if environment.tier == "production":
            raise UserError(
                self.env._("%s takes release tags v*: tag the commit and ask for the tag.", environment.key)
            )
        release = commit_sha and self.env["odooops.release"].sudo().search(
            [("project_id", "=", project.id), ("commit_sha", "=", commit_sha)], limit=1
        )
        if not release:
            raise self._sentence_of_missing(self.env._("release of commit"), names.shown(commit_sha or "?"))
        return release, release.name

    @api.model
    def _find_tagged(self, project, name, commit_sha):
        tag = self.env["odooops.release"]._find_tag(project, name)
        if not tag:
            raise self._sentence_of_missing(self.env._("release"), name)
        if commit_sha and tag.release_id.commit_sha != commit_sha:
            raise Conflict(
                self.env._(
                    "%(tag)s is commit %(known)s, not %(given)s: ask for the tag with its own commit.",
                    tag=name,
                    known=tag.release_id.short_sha,
                    given=commit_sha[:7],
                )
            )
        return tag.release_id

    @api.model
    def _request(self, environment, release, tag, force=False):
        """Return the deployment of ``release`` to ``environment`` and whether it is new.

        :param bool force: deploy it also when it is live there already
        """
        self._refuse_other_project(environment, release)
        existing = self._under_way_or_live(environment, release, force)
        if existing:
            return existing, False
        self._refuse_request(environment, release, tag)
        # Of two that ask at once the second runs into this row and is tried again, so that it finds the first.
        environment.asked_at = fields.Datetime.now()
        environment.flush_recordset()
        deployment = self.sudo().create(
            {
                "environment_id": environment.id,
                "release_id": release.id,
                "tag": tag,
                "tier": environment.tier,
                "requested_by_id": self.env.uid,
            }
        )
        (environment._active_deployments() - deployment).filtered(
            lambda one: one.state in transitions.DEPLOYMENT_PENDING and not one._is_interrupted()
        )._supersede(deployment)
        deployment._say(self.env._("%(user)s asked for %(tag)s.", user=self.env.user.name, tag=tag))
        self.env["odooops.audit.event"]._record(deployment, "deployment.requested", tag=tag, digest=release.digest)
        deployment._start_planning()
        return deployment, True

    @api.model
    def _under_way_or_live(self, environment, release, force):
        running = environment.running_deployment_id
        if not force and running.release_id == release and running.state in transitions.DEPLOYMENT_SERVING:
            return running
        return environment._active_deployments().filtered(lambda one: one.release_id == release)[:1]

    @api.model
    def _refuse_other_project(self, environment, release):
        if release.project_id != environment.project_id:
            raise UserError(
                self.env._(
                    "%(tag)s is a release of another project than %(environment)s: choose one of its own.",
                    tag=release.name,
                    environment=environment.key,
                )
            )

    @api.model
    def _refuse_work(self, environment):
        """Refuse to begin anything where it could not be carried out, or nobody knows what is there."""
        if environment.indeterminate:
            raise Conflict(
                self.env._(
                    "The state of %s can't be proven: a release manager has to repair it and mark it as repaired.",
                    environment.key,
                )
            )
        if not environment.agent_id:
            raise UserError(self.env._("%s has no agent: choose one on its page.", environment.key))
        if not environment.agent_id.active:
            raise UserError(
                self.env._(
                    "%(agent)s of %(environment)s is archived: choose another agent on the environment's page.",
                    agent=environment.agent_id.name,
                    environment=environment.key,
                )
            )

    @api.model
    def _refuse_request(self, environment, release, tag):
        self._refuse_work(environment)
        if environment.tier != "production":
            return
        busy = environment._active_deployments()[:1]
        if busy:
            raise Conflict(
                self.env._(
                    "%(environment)s is busy: %(tag)s is %(state)s. Decide on it or cancel it first.",
                    environment=environment.key,
                    tag=busy.tag,
                    state=busy._label().lower(),
                )
            )
        if not release._staging_runs():
            self._refuse(conditions.staging(tag, []).sentence())

    @api.model
    @api.readonly
    def status(self, id):  # noqa: A002  the name is part of the protocol  pylint: disable=redefined-builtin
        """Return how a deployment is, and after how many seconds to ask again.

        :param int id: the deployment's id, as ``request`` returned it
        :raises: 404 for one that the caller may not see
        """
        return self._find_by_id(id)._status()

    @api.model
    def _find_by_id(self, number):
        """Return the deployment of this id that the user may see, in sudo.

        :raises MissingError: when there is none
        """
        if not isinstance(number, int) or isinstance(number, bool):
            raise UserError(self.env._("Give the deployment's id as a number."))
        found = self.search([("id", "=", number)])
        if not found:
            raise self._sentence_of_missing(self.env._("deployment"), number)
        return found.sudo()

    def _status(self):
        self.ensure_one()
        environment = self.environment_id
        return {
            "id": self.id,
            "environment": environment.key,
            "tag": self.tag,
            "commit_sha": self.release_id.commit_sha,
            "digest": self.release_id.digest,
            "state": self.state,
            "state_label": self._label(),
            "step": self.current_step or None,
            "plan_hash": self.plan_hash or None,
            "approvals": {"needed": self.approvals_needed, "given": self.approvals_given},
            "downtime_seconds": self.held_seconds,
            "health": environment.health,
            "url": environment.url or None,
            "console_url": f"{self.get_base_url()}/odoo/odooops.deployment/{self.id}",
            "error": self._status_error(),
            "agent": self._agent_sentence(),
            "waits_for": self._waits_for(),
            "ask_again_seconds": self._ask_again_seconds(),
        }

    def _ask_again_seconds(self):
        seconds = _ASK_AGAIN.get(self.state, 0)
        return max(seconds, _AGENT_AWAY_SECONDS) if seconds and self._agent_sentence() else seconds

    def _status_error(self):
        if not self.failure_code:
            return None
        return {"code": self.failure_code, "step": self.failure_step or None, "message": self.failure_message}
