"""Which records are configuration, what of them a data file has to say, and how they are asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from psycopg2.sql import SQL

ARCH = "arch"
# A column, and the model that it points to; ARCH for a view's own text; nothing for a plain value.
Fields = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One model of configuration."""

    kind: Literal["view", "automation", "action", "parameter", "menu", "mail_template"]
    model: str
    fields: Fields
    name: str = "name"

    @property
    def table(self) -> str:
        tables = {"ir.actions.act_window": "ir_act_window", "ir.actions.server": "ir_act_server"}
        tables |= {"ir.actions.report": "ir_act_report_xml", "ir.actions.act_url": "ir_act_url"}
        return tables.get(self.model, self.model.replace(".", "_"))


def _plain(*columns: str, **relations: str) -> Fields:
    return {**dict.fromkeys(columns), **relations}


KINDS = (
    Kind(
        "view",
        "ir.ui.view",
        _plain("name", "model", "type", "key", "priority", "mode", "active", inherit_id="ir.ui.view", arch_db=ARCH),
    ),
    Kind(
        "automation",
        "base.automation",
        _plain("name", "active", "trigger", "filter_domain", "filter_pre_domain", model_id="ir.model"),
    ),
    Kind("action", "ir.actions.act_window", _plain("name", "res_model", "view_mode", "domain", "context", "target")),
    Kind(
        "action",
        "ir.actions.server",
        _plain("name", "state", "code", "usage", "sequence", model_id="ir.model", base_automation_id="base.automation"),
    ),
    Kind("action", "ir.actions.report", _plain("name", "model", "report_type", "report_name", "print_report_name")),
    Kind("action", "ir.actions.act_url", _plain("name", "url", "target")),
    Kind("parameter", "ir.config_parameter", _plain("key", "value"), name="key"),
    Kind("menu", "ir.ui.menu", _plain("name", "sequence", "active", parent_id="ir.ui.menu")),
    Kind(
        "mail_template",
        "mail.template",
        _plain("name", "subject", "email_from", "email_to", "reply_to", "body_html", model_id="ir.model"),
    ),
)
INSTALLED = SQL("SELECT name FROM public.ir_module_module WHERE state IN ('installed', 'to upgrade', 'to remove')")
CHANGED = SQL("""
    SELECT to_jsonb(r), coalesce(r.write_date, r.create_date), coalesce(p.name, u.login), d.module, d.name, d.noupdate
    FROM public.{table} r
    LEFT JOIN public.res_users u ON u.id = CASE WHEN r.write_uid <> 1 THEN r.write_uid ELSE r.create_uid END
    LEFT JOIN public.res_partner p ON p.id = u.partner_id
    LEFT JOIN LATERAL (SELECT module, name, noupdate FROM public.ir_model_data
                       WHERE model = %(model)s AND res_id = r.id ORDER BY noupdate, id LIMIT 1) d ON true
    -- What a person makes Odoo itself may write to at once, as it does to automations, whose actions it makes.
    WHERE (r.write_uid <> 1 OR r.create_uid <> 1 OR (d.name IS NULL AND %(model)s = 'ir.actions.server'))
      AND (%(since)s::timestamp IS NULL OR coalesce(r.write_date, r.create_date) > %(since)s::timestamp)
    ORDER BY 2 DESC
""")
XML_ID = SQL("""
    SELECT module || '.' || name FROM public.ir_model_data WHERE model = %(model)s AND res_id = %(id)s
    ORDER BY id LIMIT 1
""")
