from odoo import fields, models

from ..core import names

MEBIBYTE = 1024 * 1024


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    def _next_token(self, reported):
        """Give out a token above every one that was given out or that the agent has seen.

        :param reported: the highest token the agent reports for this environment
        """
        self.ensure_one()
        self.token = max(self.token, reported) + 1
        return self.token

    def _report(self, reports, tokens):
        """Take in what the agent says of its environments; only what changed is written."""
        by_key = {environment.key: environment for environment in self}
        for key, token in tokens.items():
            if key in by_key and token > by_key[key].token:
                by_key[key].token = token
        for report in reports:
            if report.key in by_key:
                by_key[report.key]._report_one(report)

    def _report_one(self, report):
        vals = {
            "health": report.health,
            "health_detail": report.detail,
            "running_digest": report.digest,
            "busy": report.busy,
        }
        if sentence := self._identity_refusal(report.database_uuid):
            vals |= {"health": "red", "health_detail": sentence}
        changed = {name: value for name, value in vals.items() if (self[name] or None) != (value or None)}
        stale = not self.health_at or (fields.Datetime.now() - self.health_at).total_seconds() > 60
        if changed or stale:
            self.write({**changed, "health_at": report.checked_at or fields.Datetime.now()})
        if changed.get("health") == "red":
            self.message_post(body=self.env._("Health: Red. %s", vals["health_detail"]))
        # Not before something is live: a first installation that fails is undone, database and all.
        if self.running_deployment_id and not self.database_uuid and report.database_uuid:
            self.database_uuid = report.database_uuid[:64]

    def _identity_refusal(self, database_uuid):
        """Return what is wrong with the database that the agent sees, or None."""
        if not database_uuid or not self.database_uuid or database_uuid == self.database_uuid:
            return None
        return self.env._(
            "The database's identity is %(seen)s instead of %(known)s: nothing is deployed here until that is clear.",
            seen=names.shown(database_uuid),
            known=self.database_uuid,
        )

    def _on_agent_result(self, result):
        """Take in how an operation left the environment."""
        vals = {"health_at": fields.Datetime.now()}
        if result.get("health") in ("green", "yellow", "red"):
            vals["health"] = result["health"]
        if names.DIGEST.fullmatch(str(result.get("digest"))):
            vals["running_digest"] = result["digest"]
        self.write(vals)

    def _agent_payload(self):
        """Return what an agent has to know to work on this environment."""
        self.ensure_one()
        return {
            "key": self.key,
            "uuid": self.uuid,
            "tier": self.tier,
            "series": self.project_id.series,
            "database": {"name": self.database_name, "uuid": self.database_uuid or None},
            "modules": names.split_list(self.module_names),
            "languages": names.split_list(self.languages) or ["en_US"],
            "domains": self._domains_payload(),
            "url": self.url or None,
            "workers": self.workers,
            "cron_workers": self.cron_workers,
            "limits": self._limits_payload(),
            "database_connections_max": self.database_connections_max,
            "mail": self._mail_payload(),
            "bucket": self.bucket or None,
        }

    def _domains_payload(self):
        by_kind = self.domain_ids.grouped("kind")
        empty = self.domain_ids.browse()
        return {
            "main": self.main_domain or None,
            "aliases": by_kind.get("alias", empty).mapped("name"),
            "redirects": by_kind.get("redirect", empty).mapped("name"),
        }

    def _limits_payload(self):
        return {
            "memory_soft_bytes": self.memory_soft_mb * MEBIBYTE,
            "memory_hard_bytes": self.memory_hard_mb * MEBIBYTE,
            "container_memory_bytes": self.container_memory_mb * MEBIBYTE,
            "cpus": self.cpus or None,
            "request_seconds": self.request_seconds,
            "request_cpu_seconds": self.request_cpu_seconds,
        }

    def _mail_payload(self):
        if not self.mail_host:
            return None
        return {
            "host": self.mail_host,
            "port": self.mail_port,
            "encryption": self.mail_encryption,
            "from_filter": self.mail_from_filter or None,
        }

    def _options_payload(self):
        return {
            "drain_limit_seconds": self.drain_limit_seconds,
            "hold_limit_seconds": self.hold_limit_seconds,
            "update_timeout_seconds": self.update_timeout_seconds,
            "disk_reserve_bytes": self.disk_reserve_mb * MEBIBYTE,
        }
