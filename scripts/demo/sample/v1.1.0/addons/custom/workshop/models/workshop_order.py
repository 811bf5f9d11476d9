from odoo import fields, models


class WorkshopOrder(models.Model):
    _name = "workshop.order"
    _description = "Workshop Order"
    _inherit = ["mail.thread"]
    _order = "name"

    name = fields.Char(string="Number", required=True, tracking=True)
    customer = fields.Char()
    duration = fields.Char(help="How long it takes, such as 1:30")
    minutes = fields.Integer(help="The duration as a number, to add up")
    state = fields.Selection(
        [("new", "New"), ("in_progress", "In Progress"), ("done", "Done")],
        default="new",
        required=True,
        tracking=True,
    )
