from odoo import api, fields, models
from odoo.exceptions import MissingError, UserError
from odoo.tools import SQL
from odoo.tools.sql import escape_psql

from ..core import names
from .mixins import Conflict, says_bad_names
from .triggers import guard

_IMMUTABLE = frozenset(
    (
        "project_id",
        "commit_sha",
        "image",
        "digest",
        "manifest",
        "submodules",
        "series",
        "registered_by_id",
        "author_id",
        "message",
    )
)
_MAX_ANCESTORS = 5000
_MAX_MANIFEST_BYTES = 8 * 1024 * 1024


class OdooopsRelease(models.Model):
    _name = "odooops.release"
    _description = "Release"
    _inherit = ["odooops.project.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "id desc"
    _mail_post_access = "read"

    project_id = fields.Many2one("odooops.project", required=True, readonly=True, ondelete="restrict", index=True)
    name = fields.Char(compute="_compute_name", store=True)
    is_tagged = fields.Boolean(compute="_compute_name", store=True, help="It has a tag v*, as production asks for.")
    commit_sha = fields.Char(string="Commit", required=True, readonly=True, index=True)
    short_sha = fields.Char(compute="_compute_short_sha")
    image = fields.Char(required=True, readonly=True, help="The image's repository, without tag.")
    digest = fields.Char(required=True, readonly=True)
    manifest = fields.Json(readonly=True, prefetch=False, help="What the image says about its addons.")
    submodules = fields.Json(readonly=True, prefetch=False)
    checks = fields.Json(readonly=True, prefetch=False, help="Preflight results, as CI reported them.")
    series = fields.Char(readonly=True)
    message = fields.Char(string="Commit message", readonly=True)
    author_id = fields.Many2one("res.users", readonly=True, help="Who wrote the commit, when that is a user here.")
    registered_by_id = fields.Many2one("res.users", readonly=True)
    risk_tier = fields.Selection(
        [("unknown", "Unknown"), ("low", "Low"), ("medium", "Medium"), ("high", "High"), ("critical", "Critical")],
        default="unknown",
        required=True,
        readonly=True,
    )
    tag_ids = fields.One2many("odooops.release.tag", "release_id", string="Tags", readonly=True)
    deployment_ids = fields.One2many("odooops.deployment", "release_id", string="Deployments", readonly=True)
    addon_count = fields.Integer(compute="_compute_addon_count")
    state = fields.Selection(
        [("registered", "Registered"), ("staged", "Ran on staging"), ("released", "Ran on production")],
        compute="_compute_state",
        store=True,
    )

    _commit_uniq = models.Constraint("UNIQUE (project_id, commit_sha)", "This commit is registered already.")

    def init(self):
        """Let a release never change, whoever writes it."""
        guard(self.env.cr, self._table, "odooops_refuse_other_release", SQL("UPDATE"))

    @api.depends("tag_ids.name", "commit_sha")
    def _compute_name(self):
        for release in self:
            tags = release.tag_ids.sorted("id").mapped("name")
            versions = [tag for tag in tags if names.RELEASE_TAG.fullmatch(tag)]
            release.is_tagged = bool(versions)
            release.name = (versions or tags or [(release.commit_sha or "")[:7]])[-1]

    @api.depends("commit_sha")
    def _compute_short_sha(self):
        for release in self:
            release.short_sha = (release.commit_sha or "")[:7]

    @api.depends("manifest")
    def _compute_addon_count(self):
        for release in self:
            release.addon_count = len((release.manifest or {}).get("addons") or {})

    @api.depends("deployment_ids.live_at", "deployment_ids.tier")
    def _compute_state(self):
        for release in self:
            tiers = set(release.deployment_ids.filtered("live_at").mapped("tier"))
            if "production" in tiers:
                release.state = "released"
            else:
                release.state = "staged" if "staging" in tiers else "registered"

    def write(self, vals):
        """Refuse what would change a registered release."""
        if _IMMUTABLE & vals.keys() or ("ancestors" in vals and any(release.ancestors for release in self)):
            raise UserError(self.env._("A release never changes once registered: build and register a new commit."))
        return super().write(vals)

    @api.model
    def _unlink_refused(self):
        return self.env._("A release stays in the ledger: rollbacks look for it there.")

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise UserError(self._unlink_refused())

    @api.model
    @says_bad_names
    def register(self, project, ref, commit_sha, image=None, manifest=None, checks=None, ancestors=None):
        """Record a release; the same call again changes nothing.

        A tag without an image names what is recorded for its commit: what goes to production is never built anew.

        :param str project: the project's code
        :param str ref: ``refs/heads/main``, or ``refs/tags/v*``, which names a commit that is built
        :param str commit_sha: 40 hex digits
        :param str image: ``<repository>@sha256:<64 hex digits>``; may be left out with a tag
        :param dict manifest: the image's own manifest
        :param checks: preflight results, as CI has them
        :param ancestors: commits before this one, newest first, as ``git rev-list`` lists them; they tell which
            releases contain one that was rolled back
        :return: id, tag, state, risk tier, and whether it was new
        :raises: 403 without the role, 404 for an unknown project or a tag on what was never built, 409 for a
            commit or tag that is recorded with something else, 422 for what is malformed
        """
        project = self.env["odooops.project"]._find(project)
        project._require_role("ci", "developer", "release_manager")
        parsed = names.parse_ref(ref, project.main_branch)
        if image is None and parsed.kind == "tag":
            release, is_new = self._built(project, parsed, commit_sha), False
        else:
            wanted = self._wanted(project, ref, commit_sha, image, manifest, checks)
            release = self._registered(project, parsed, wanted)
            is_new = not release
            release = release or self._create_one(project, wanted)
        release._learn_history(self._checked_ancestors(commit_sha, ancestors))
        tag = release._add_tag(parsed)
        release._received(ref, is_new)
        return {"id": release.id, "tag": tag, "state": release.state, "risk_tier": release.risk_tier, "new": is_new}

    @api.model
    def _create_one(self, project, wanted):
        """Create a release; of two at once the second runs into the project's row and is tried again."""
        project.released_at = fields.Datetime.now()
        project.flush_recordset()
        return self.sudo().create(wanted)

    @api.model
    def _wanted(self, project, ref, commit_sha, image, manifest, checks):
        """Return checked values of the release that CI wants recorded."""
        names.require_commit(commit_sha)
        repository, digest = names.parse_image(image)
        if project.image_repository and project.image_repository != repository:
            raise UserError(
                self.env._(
                    "Images of %(project)s come from %(wanted)s, not from %(given)s: correct the workflow "
                    "or the project.",
                    project=project.code,
                    wanted=project.image_repository,
                    given=names.shown(repository),
                )
            )
        manifest = self._checked_manifest(project, commit_sha, manifest)
        return {
            "project_id": project.id,
            "commit_sha": commit_sha,
            "image": repository,
            "digest": digest,
            "manifest": manifest,
            "submodules": manifest.get("submodules") or {},
            "series": manifest.get("series") or project.series,
            "message": str(manifest.get("message") or "")[:200],
            "author_id": self._author(manifest).id,
            "checks": checks or [],
            "registered_by_id": self.env.uid,
        }

    @api.model
    def _checked_manifest(self, project, commit_sha, manifest):
        """Return the manifest, refusing one of another commit or series."""
        manifest = manifest or {}
        if not isinstance(manifest, dict):
            raise UserError(self.env._("The manifest has to be an object, as the image's manifest.json is."))
        if len(str(manifest)) > _MAX_MANIFEST_BYTES:
            raise UserError(self.env._("The manifest is larger than 8 MB: send the image's own manifest only."))
        for name, wanted in (("commit_sha", commit_sha), ("series", project.series)):
            if manifest.get(name) not in (None, wanted):
                raise UserError(
                    self.env._(
                        "The image's manifest says %(name)s %(given)s instead of %(wanted)s: "
                        "build the image of this commit.",
                        name=name,
                        given=names.shown(manifest[name]),
                        wanted=wanted,
                    )
                )
        return manifest

    @api.model
    def _checked_ancestors(self, commit_sha, ancestors):
        """Return the commits that the release contains, its own first; nothing when CI does not know."""
        if ancestors is None:
            return None
        if not isinstance(ancestors, list) or not all(names.COMMIT.fullmatch(str(one)) for one in ancestors):
            raise UserError(self.env._("The ancestors have to be a list of commits of 40 hex digits each."))
        return list(dict.fromkeys([commit_sha, *ancestors]))[:_MAX_ANCESTORS]

    def _learn_history(self, history):
        """Note what the release contains, once: also of one that was registered without."""
        if history and not self.ancestors:
            self.ancestors = history

    @api.model
    def _author(self, manifest):
        """Return the user whose address the commit bears."""
        email = str(manifest.get("author_email") or "").strip().lower()
        Users = self.env["res.users"].sudo()
        if not email:
            return Users
        return Users.search(["|", ("login", "=ilike", escape_psql(email)), ("email_normalized", "=", email)], limit=1)

    @api.model
    def _registered(self, project, ref, wanted):
        """Return the release of this commit, if there is one.

        :raises Conflict: when commit or tag are recorded with something else
        """
        release = self._of_commit(project, wanted["commit_sha"])
        if release and (release.image, release.digest) != (wanted["image"], wanted["digest"]):
            self._refuse_other(release, wanted["commit_sha"][:7], wanted["digest"])
        self._refuse_moved(project, ref, release, wanted["commit_sha"])
        return release

    @api.model
    def _built(self, project, ref, commit_sha):
        """Return the release that a tag's commit was built as.

        :raises Conflict: when the tag names another release
        :raises MissingError: when there is none
        """
        release = self._of_commit(project, names.require_commit(commit_sha))
        self._refuse_moved(project, ref, release, commit_sha)
        if not release:
            raise MissingError(
                self.env._(
                    "Commit %(commit)s of %(project)s was never built: push it to %(branch)s first and let that "
                    "workflow end.",
                    commit=commit_sha[:7],
                    project=project.code,
                    branch=project.main_branch,
                )
            )
        return release

    @api.model
    def _of_commit(self, project, commit_sha):
        return self.sudo().search([("project_id", "=", project.id), ("commit_sha", "=", commit_sha)], limit=1)

    @api.model
    def _refuse_moved(self, project, ref, release, commit_sha):
        """Refuse a tag that names another release than this one, which may be none yet."""
        tag = ref.kind == "tag" and self._find_tag(project, ref.name)
        if tag and tag.release_id != release:
            self._refuse_other(tag.release_id, ref.name, commit_sha)

    @api.model
    def _find_tag(self, project, name):
        return (
            self.env["odooops.release.tag"]
            .sudo()
            .search([("project_id", "=", project.id), ("name", "=", name)], limit=1)
        )

    @api.model
    def _refuse_other(self, release, name, given):
        """Refuse something recorded to become something else, and have people look into it."""
        known = release.commit_sha[:7] if names.COMMIT.fullmatch(given) else release.digest
        text = self.env._(
            "%(name)s is registered with %(known)s and can't become %(given)s: "
            "make a new commit or tag, a release never changes.",
            name=name,
            known=known,
            given=given,
        )
        self._after_rollback(release.id, name, text)
        raise Conflict(text)

    @api.model
    def _after_rollback(self, release_id, name, text):
        """Leave an activity behind although the request itself is undone."""
        registry, uid = self.env.registry, self.env.uid

        def notify():
            with registry.cursor() as cr:
                env = self.env(cr=cr, user=uid)
                release = env["odooops.release"].sudo().browse(release_id)
                release.project_id._notify_release_managers(release, env._("%s was moved", name), text)

        self.env.cr.postrollback.add(notify)

    def _add_tag(self, ref):
        """Give the release the name that ``ref`` stands for and return it."""
        Tag = self.env["odooops.release.tag"].sudo()
        if ref.kind == "tag":
            found = self.tag_ids.filtered(lambda tag: tag.name == ref.name)
            name = ref.name
        else:
            found = self.tag_ids.filtered(lambda tag: names.BUILD_TAG.fullmatch(tag.name))[:1]
            name = found.name or names.build_tag(ref.name, fields.Datetime.now(), self.commit_sha)
        if not found:
            Tag.create({"release_id": self.id, "name": name})
            self.env["odooops.audit.event"]._record(self, "release.tagged", tag=name)
        return name

    def _received(self, ref, is_new):
        """Follow up on a registration."""
        delivery = f"{self.project_id.code}:{ref}:{self.commit_sha}"
        self.env["odooops.event"]._receive("ci", f"register:{delivery}", "release.register", self.project_id)
        if is_new:
            self.project_id.image_repository = self.project_id.image_repository or self.image
            self.env["odooops.audit.event"]._record(self, "release.registered", digest=self.digest)
        if ref in (f"refs/heads/{self.project_id.main_branch}", self.project_id.main_branch):
            self._deploy_automatically()

    def _deploy_automatically(self):
        """Send a push to the main branch to the environments that follow it."""
        for environment in self.project_id.environment_ids:
            if environment.auto_deploy and environment.tier != "production" and not environment.indeterminate:
                self._deploy_to(environment)

    def _deploy_to(self, environment):
        """Ask for a deployment; what stands against it is said there and stops no registration."""
        try:
            with self.env.cr.savepoint():
                self.env["odooops.deployment"]._request(environment, self, self.name)
        except UserError as error:
            environment.message_post(body=self.env._("%(tag)s was not deployed: %(why)s", tag=self.name, why=error))

    def _agent_payload(self, tag):
        return {"tag": tag, "commit_sha": self.commit_sha, "image": self.image, "digest": self.digest}
