from odoo import api, fields, models


class OdooopsAgentEnrol(models.TransientModel):
    _name = "odooops.agent.enrol"
    _description = "Enrol an Agent"

    name = fields.Char(required=True, default=lambda self: self._default_name(), help="How the droplet is called here.")
    agent_id = fields.Many2one("odooops.agent", help="Set to make a new key for this agent.")
    environment_ids = fields.Many2many(
        "odooops.environment", string="Environments", help="They are handed to this agent."
    )

    @api.model
    def _default_name(self):
        count = self.env["odooops.agent"].with_context(active_test=False).search_count([])
        return f"droplet-{count + 1}"

    def action_enrol(self):
        """Create the agent, or a new key for it, and show the key once.

        :return: an action whose context has the key, and the console's own, as ``default_key`` and the agent's id as
            ``odooops_agent_id``
        """
        self.ensure_one()
        self.check_access("write")
        self.env["odooops.agent"].check_access("create")
        agent = self.agent_id
        if agent:
            key = self.env["odooops.agent.key"]._issue(agent)
        else:
            agent, key = self.env["odooops.agent"]._enrol(self.name)
        self.environment_ids.write({"agent_id": agent.id})
        hint = self.env._(
            "Save the line as the agent's key file now: it is shown only here. The key renews itself from then on; the "
            "console's own key behind it tells the droplet whom to obey."
        )
        line = " ".join(filter(None, (key, agent.console_pin)))
        action = self.env["odooops.key.show"]._action(self.env._("Key of %s", agent.name), line, hint)
        action["context"]["odooops_agent_id"] = agent.id
        return action
