from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools.sql import escape_psql

from .. import secret_files
from ..core import github_events, names


class OdooopsProject(models.Model):
    _inherit = "odooops.project"

    github_repository = fields.Char(
        string="GitHub repository", copy=False, tracking=True, help="owner/name, as its address ends."
    )
    github_repository_key = fields.Char(
        string="GitHub's id of the repository",
        copy=False,
        tracking=True,
        help="Learnt from the first delivery. It stays when the repository is renamed, and another repository that "
        "takes the old name has another one. Clear it to point the project at another repository.",
    )
    github_owner_key = fields.Char(string="GitHub's id of the owner", copy=False, tracking=True)

    _github_key_uniq = models.UniqueIndex(
        "(github_repository_key) WHERE github_repository_key IS NOT NULL",
        "Another project has this GitHub repository already.",
    )
    _github_name_uniq = models.UniqueIndex(
        "(lower(github_repository)) WHERE github_repository IS NOT NULL AND active",
        "Another project has this GitHub repository already.",
    )

    @api.constrains("github_repository", "github_repository_key", "github_owner_key")
    def _check_github(self):
        for project in self:
            if project.github_repository and not github_events.FULL_NAME.fullmatch(project.github_repository):
                raise ValidationError(
                    self.env._(
                        "%s is no GitHub repository: write it as owner/name.", names.shown(project.github_repository)
                    )
                )
            for key in (project.github_repository_key, project.github_owner_key):
                if key and not (key.isascii() and key.isdigit() and len(key) <= 20):
                    raise ValidationError(self.env._("%s is no id: GitHub's are numbers.", names.shown(key)))

    @api.model
    def _of_repository(self, repository):
        """Return the project of a repository, and learn its ids at the first time.

        :raises UserError: when another repository took the name
        """
        known = self.search([("github_repository_key", "=", str(repository.id))], limit=1)
        if known:
            if known.github_repository != repository.full_name:
                known.github_repository = repository.full_name
            return known
        project = self.search([("github_repository", "=ilike", escape_psql(repository.full_name))], limit=1)
        if project.github_repository_key:
            raise UserError(
                self.env._(
                    "%(name)s has another id (%(given)s) than the repository of %(project)s (%(known)s): it is another "
                    "one under that name. Clear the id on the project if that is meant.",
                    name=repository.full_name,
                    given=repository.id,
                    project=project.code,
                    known=project.github_repository_key,
                )
            )
        if project:
            project.write(
                {"github_repository_key": str(repository.id), "github_owner_key": str(repository.owner_id or "")}
            )
        return project

    def _webhook_owner(self):
        """Return whose secret signs this project's deliveries: its code when it has one of its own, else "".

        One that is too short or can't be read is its own too: nothing else opens the project meanwhile.
        """
        return self.code if secret_files.has_own(self.code, "webhook_secret") else ""

    # What each kind of event does; each returns one sentence.

    def _on_github_ping(self, _event):
        self.message_post(body=self.env._("GitHub's webhook is set up."))
        return self.env._("The webhook is set up.")

    def _on_github_push(self, push):
        if push.kind == "tag":
            return self._on_tag_pushed(push)
        if push.deleted:
            return self.env._("Branch %s was deleted: nothing is deployed for it.", push.name)
        if push.name != self.main_branch:
            return self.env._("Branch %(branch)s is at %(sha)s.", branch=push.name, sha=push.after[:7])
        if push.forced and push.moved:
            self._warn_of_rewritten(push)
        return self.env._("%(branch)s is at %(sha)s; CI builds and registers it.", branch=push.name, sha=push.after[:7])

    def _warn_of_rewritten(self, push):
        """Have people look at a main branch that was pushed by force: what was released may be gone from it."""
        self._notify_release_managers(
            self,
            self.env._("%s was pushed by force", push.name),
            self.env._(
                "%(sender)s moved %(branch)s from %(before)s to %(after)s by force. Releases keep their commits; look "
                "whether what runs is still part of the branch.",
                sender=push.sender or "?",
                branch=push.name,
                before=push.before[:7],
                after=push.after[:7],
            ),
        )

    def _on_tag_pushed(self, push):
        tag = self.env["odooops.release"]._find_tag(self, push.name)
        if not tag:
            return self.env._("Tag %(tag)s is at %(sha)s.", tag=push.name, sha=push.after[:7])
        release = tag.release_id
        if push.deleted:
            text = self.env._("Tag %(tag)s was deleted on GitHub; here it goes on naming %(sha)s.",
                              tag=push.name, sha=release.short_sha)  # fmt: skip
            release.message_post(body=text)
            return text
        if push.commit_sha == release.commit_sha:
            return self.env._("Tag %s is where it was.", push.name)
        text = self.env._(
            "Refused: %(sender)s moved tag %(tag)s on GitHub to %(given)s. It goes on naming %(known)s here: "
            "make a new tag, a release never changes.",
            sender=push.sender or "?",
            tag=push.name,
            given=push.commit_sha[:7],
            known=release.short_sha,
        )
        self._notify_release_managers(release, self.env._("%s was moved", push.name), text)
        return text

    def _on_github_create(self, event):
        return self.env._("%(kind)s %(name)s was made.", kind=event.kind.capitalize(), name=event.name)

    def _on_github_release(self, event):
        tag = self.env["odooops.release"]._find_tag(self, event.tag)
        if tag and event.action == "published":
            tag.release_id.message_post(
                body=self.env._("%(sender)s published %(tag)s on GitHub.", sender=event.sender, tag=event.tag)
            )
        return self.env._("Release %(tag)s on GitHub: %(action)s.", tag=event.tag, action=event.action)

    def _on_github_workflow_run(self, run):
        return self._note_run(run, self.env._("workflow"))

    def _on_github_check_suite(self, run):
        return self._note_run(run, self.env._("checks of"))

    def _note_run(self, run, what):
        """Say on a release how GitHub's own runs for its commit ended; gates look at reported checks only."""
        text = self.env._(
            "%(what)s %(name)s on %(sha)s: %(result)s.",
            what=what.capitalize(),
            name=run.name,
            sha=run.commit_sha[:7],
            result=run.conclusion or run.status or run.action,
        )
        release = self.env["odooops.release"].search(
            [("project_id", "=", self.id), ("commit_sha", "=", run.commit_sha)], limit=1
        )
        if (
            release
            and run.action == "completed"
            and not run.is_fork
            and run.conclusion not in ("success", "skipped", "")
        ):
            release.message_post(body=text)
        return text

    def _on_github_deployment(self, event):
        return self.env._("GitHub records a deployment of %(sha)s to %(environment)s.", sha=event.commit_sha[:7],
                          environment=event.environment)  # fmt: skip

    def _on_github_deployment_status(self, event):
        return self.env._("GitHub's deployment to %(environment)s is %(state)s.", environment=event.environment,
                          state=event.state)  # fmt: skip
