"""What was configured by hand, told from a database as Odoo leaves it; on every PostgreSQL that is tested with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

from parts.postgres import Made

TABLES = """
DROP TABLE IF EXISTS res_partner, res_users, ir_module_module, ir_config_parameter, ir_model_data, ir_ui_view CASCADE;
CREATE TABLE res_partner (id int PRIMARY KEY, name varchar);
CREATE TABLE res_users (id int PRIMARY KEY, login varchar, partner_id int);
CREATE TABLE ir_module_module (name varchar, state varchar, latest_version varchar);
CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar UNIQUE, value text, create_uid int, create_date
    timestamp, write_uid int, write_date timestamp);
CREATE TABLE ir_model_data (id serial, module varchar, name varchar, model varchar, res_id int, noupdate bool);
CREATE TABLE ir_ui_view (id int PRIMARY KEY, name varchar, inherit_id int, arch_db jsonb, active bool,
    create_uid int, create_date timestamp, write_uid int, write_date timestamp);
INSERT INTO res_partner VALUES (7, 'Anna'); INSERT INTO res_users VALUES (1, 'odoobot', NULL), (2, 'anna', 7);
INSERT INTO ir_module_module VALUES ('workshop', 'installed', '19.0.1.0.0'), ('gone', 'uninstalled', NULL);
INSERT INTO ir_ui_view VALUES
    (1, 'as shipped', NULL, '{"en_US": "<form/>"}', true, 1, '2026-01-01', 1, '2026-11-23 12:00'),
    (2, 'changed', NULL, '{"en_US": "<form><b>a</b> &amp; c</form>"}', true, 1, '2026-01-01', 2,
        '2026-11-23 10:00'),
    (3, 'kept', NULL, '{"en_US": "<form/>"}', true, 1, '2026-01-01', 2, '2026-11-23 11:00'),
    (4, 'made', 2, '{"en_US": "<p x=\\"y\\"/>"}', true, 2, '2026-11-23', 1, '2026-11-23 09:00'),
    (5, 'of a module that is gone', 3, '{"en_US": "no <xml"}', true, 1, '2026-01-01', 2,
        '2026-11-22');
INSERT INTO ir_model_data (module, name, model, res_id, noupdate) VALUES
    ('workshop', 'shipped', 'ir.ui.view', 1, false),
    ('workshop', 'form', 'ir.ui.view', 2, false), ('workshop', 'kept', 'ir.ui.view', 3, true),
    ('gone', 'rest', 'ir.ui.view', 5, false);
INSERT INTO ir_config_parameter (key, value, create_uid, create_date, write_uid, write_date) VALUES
    ('shop.api_key', 'sesame', 2, '2026-11-23', 2, '2026-11-23'),
    ('database.uuid', 'u', 1, '2026-01-01', 1, '2026-01-01'),
    ('shop.hours', '9 < 17', 2, '2026-11-23', 2, '2026-11-23');
"""


def test_what_an_update_overwrites_is_told_and_secrets_are_not(make: Callable[..., Made]) -> None:
    made = make()
    made.cluster.as_superuser(f"SET ROLE {made.name}", TABLES, database=made.name)
    found = made.database.inspect(made.name, None)
    told = {change.name: (change.xml_id, change.by, change.overwritten_by_update) for change in found.changes}
    assert told == {
        "changed": ("workshop.form", "Anna", True),
        "kept": ("workshop.kept", "Anna", False),
        "made": (None, "Anna", False),
        "of a module that is gone": ("gone.rest", "Anna", False),
        "shop.api_key": (None, "Anna", False),
        "shop.hours": (None, "Anna", False),
    }
    assert "sesame" not in found.xml
    records = {record.get("id"): record for record in Xml.fromstring(found.xml.encode()).iter("record")}  # noqa: S314 ours
    changed = records["workshop.form"].find("field[@name='arch']/form")
    assert Xml.tostring(changed, encoding="unicode") == "<form><b>a</b> &amp; c</form>"
    assert records["manual_ir_ui_view_4"].find("field[@name='inherit_id']").get("ref") == "workshop.form"
    assert records["gone.rest"].find("field[@name='arch']").text == "no <xml"
    assert len(records) == 5
    since = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    assert [change.name for change in made.database.inspect(made.name, since).changes] == ["kept", "changed"]
