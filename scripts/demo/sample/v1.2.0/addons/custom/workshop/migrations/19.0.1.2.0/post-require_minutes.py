def migrate(cr, version):
    """Refuse orders without minutes: from now on every order has them."""
    cr.execute("SELECT name, duration FROM workshop_order WHERE coalesce(minutes, 0) <= 0 ORDER BY name LIMIT 1")
    for name, duration in cr.fetchall():
        raise ValueError(f"Order {name} lasts {duration!r}, which is no time such as 1:30: correct it first")
