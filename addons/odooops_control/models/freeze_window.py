from odoo import api, fields, models
from odoo.addons.base.models.res_partner import _tz_get
from odoo.exceptions import ValidationError

from ..core import freeze
from .environment import TIERS

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class OdooopsFreezeWindow(models.Model):
    _name = "odooops.freeze.window"
    _description = "Freeze Window"
    _inherit = ["odooops.audited.mixin", "mail.thread"]
    _order = "tier desc, kind, name, id"
    _audit_noun = "freeze"
    _audit_fields = (
        "name", "active", "kind", "tier", "begins_at", "ends_at", "tz", "hour_from", "hour_to", "project_ids",
        "environment_ids", *_DAYS,
    )  # fmt: skip

    name = fields.Char(required=True, help="What people read while they wait.")
    active = fields.Boolean(default=True)
    kind = fields.Selection(
        [("weekly", "Every week"), ("once", "Once")], required=True, default="weekly", string="It comes"
    )
    tier = fields.Selection(TIERS, default="production", help="Left empty it holds for every tier.")
    project_ids = fields.Many2many("odooops.project", string="Projects", help="Left empty it holds for all.")
    environment_ids = fields.Many2many(
        "odooops.environment", string="Environments", help="Left empty it holds for all."
    )
    begins_at = fields.Datetime(string="From")
    ends_at = fields.Datetime(string="Until")
    tz = fields.Selection(
        _tz_get,
        string="Time zone",
        required=True,
        default=lambda self: self.env.user.tz or "UTC",
        help="The hours are those of the clock there, also when it is set forward or back.",
    )
    hour_from = fields.Float(string="From hour", default=18)
    hour_to = fields.Float(string="To hour", default=8, help="Not later than the first: it ends on the next day.")
    monday = fields.Boolean()
    tuesday = fields.Boolean()
    wednesday = fields.Boolean()
    thursday = fields.Boolean()
    friday = fields.Boolean()
    saturday = fields.Boolean()
    sunday = fields.Boolean()
    summary = fields.Char(compute="_compute_summary", string="When")
    is_closed = fields.Boolean(compute="_compute_is_closed", string="Closed now")

    @api.depends("kind", "begins_at", "ends_at", "tz", "hour_from", "hour_to", *_DAYS)
    def _compute_summary(self):
        for window in self:
            if window.kind == "once":
                window.summary = self.env._("%(begin)s to %(end)s UTC", begin=window.begins_at, end=window.ends_at)
            else:
                window.summary = self.env._(
                    "%(days)s, %(begin)s to %(end)s (%(zone)s)",
                    days=", ".join(window._fields[day].string[:3] for day in _DAYS if window[day]) or "–",
                    begin=_clock(window.hour_from),
                    end=_clock(window.hour_to),
                    zone=window.tz,
                )

    @api.depends("active", "kind", "begins_at", "ends_at", "tz", "hour_from", "hour_to", *_DAYS)
    def _compute_is_closed(self):
        now = fields.Datetime.now()
        for window in self:
            found = [window._for_core()] if window._is_complete() and window.active else []
            window.is_closed = bool(freeze.closing(found, now))

    @api.constrains("kind", "begins_at", "ends_at", "hour_from", "hour_to", *_DAYS)
    def _check_times(self):
        for window in self:
            if window.kind == "once" and not (
                window.begins_at and window.ends_at and window.begins_at < window.ends_at
            ):
                raise ValidationError(self.env._("%s comes once: give its beginning and a later end.", window.name))
            if window.kind == "weekly" and not window._is_complete():
                raise ValidationError(self.env._("%s comes every week: choose a day at least.", window.name))
            if not (0 <= window.hour_from < 24 and 0 <= window.hour_to <= 24):
                raise ValidationError(self.env._("The hours of %s have to be between 0:00 and 24:00.", window.name))

    @api.constrains("project_ids", "environment_ids")
    def _check_scope(self):
        for window in self:
            others = window.environment_ids.project_id - window.project_ids
            if window.project_ids and others:
                raise ValidationError(
                    self.env._("%s names an environment of a project that it does not name.", window.name)
                )

    def _is_complete(self):
        return bool(self.begins_at and self.ends_at) if self.kind == "once" else any(self[day] for day in _DAYS)

    def _for_core(self):
        if self.kind == "once":
            return freeze.Once(self.name, self.begins_at, self.ends_at)
        days = frozenset(number for number, day in enumerate(_DAYS) if self[day])
        return freeze.Weekly(self.name, self.tz, days, round(self.hour_from * 60), round(self.hour_to * 60))

    @api.model
    def _of_environment(self, environment):
        """Return the windows that hold for an environment, for the core."""
        windows = self.sudo().search([("tier", "in", (False, environment.tier))])
        return [
            window._for_core()
            for window in windows
            if (not window.project_ids or environment.project_id in window.project_ids)
            and (not window.environment_ids or environment in window.environment_ids)
        ]


def _clock(hours):
    minutes = round(hours * 60)
    return f"{minutes // 60}:{minutes % 60:02}"
