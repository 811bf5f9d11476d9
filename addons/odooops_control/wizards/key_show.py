from odoo import api, fields, models


class OdooopsKeyShow(models.AbstractModel):
    """Show a key once: an abstract model has no table it could be found in later."""

    _name = "odooops.key.show"
    _description = "Show a Key Once"

    # The web client asks for the value by an onchange, which needs an id.
    id = fields.Id()
    key = fields.Char(readonly=True)
    hint = fields.Char(readonly=True)

    @api.model
    def _action(self, title, key, hint):
        """Return the action that shows ``key``."""
        return {
            "type": "ir.actions.act_window",
            "name": title,
            "res_model": self._name,
            "views": [(False, "form")],
            "target": "new",
            "context": {"default_key": key, "default_hint": hint},
        }
