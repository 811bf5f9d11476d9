from .models.triggers import drop_triggers


def uninstall_hook(env):
    """Take away the functions that guard tables; the tables themselves go with the models."""
    drop_triggers(env.cr)
