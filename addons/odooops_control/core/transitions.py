"""Which state may follow which; nothing else in the product knows."""

DEPLOYMENT = {
    "draft": {"planned", "failed", "cancelled", "superseded", "indeterminate"},
    "planned": {"awaiting_approval", "approved", "cancelled", "superseded", "failed", "draft"},
    "awaiting_approval": {"approved", "rejected", "cancelled", "superseded", "draft"},
    "approved": {"queued", "cancelled", "superseded", "draft"},
    # Queued again after its agent fell silent, it may turn out to have been carried out.
    "queued": {"running", "cancelled", "superseded", "draft", "failed", "indeterminate", "soaking", "live"},
    "running": {
        "soaking",
        "live",
        "failed",
        "cancelled",
        "indeterminate",
        "queued",
        "draft",
        "rolled_back",
    },
    "soaking": {"live", "superseded", "rolled_back", "indeterminate"},
    "live": {"superseded", "rolled_back"},
    # An agent that comes back with the current token may still say how it ended.
    "indeterminate": {"running", "soaking", "live", "failed", "cancelled", "rolled_back", "draft"},
    "superseded": {"live"},
    "rejected": set(),
    # Cancelled while its agent was silent; the agent finished it nevertheless.
    "cancelled": {"soaking", "live", "failed", "indeterminate"},
    "failed": set(),
    # A rollback can itself be rolled back.
    "rolled_back": {"live"},
}
DEPLOYMENT_PENDING = ("draft", "planned", "awaiting_approval", "approved", "queued")
DEPLOYMENT_ACTIVE = (*DEPLOYMENT_PENDING, "running")
DEPLOYMENT_SERVING = ("soaking", "live")

ROLLBACK = {
    "draft": {"previewing", "cancelled"},
    "previewing": {"awaiting_approval", "approved", "failed", "cancelled"},
    "awaiting_approval": {"approved", "rejected", "cancelled", "previewing", "failed"},
    "approved": {"queued", "cancelled", "previewing"},
    # Queued again after its agent fell silent, it may turn out to have been carried out.
    "queued": {"running", "cancelled", "previewing", "failed", "indeterminate", "done"},
    # Past the ceiling it was undone, and asks again.
    "running": {"done", "failed", "cancelled", "indeterminate", "queued", "previewing"},
    "indeterminate": {"running", "done", "failed", "cancelled", "previewing"},
    "cancelled": {"done", "failed", "indeterminate"},
    "done": set(),
    "rejected": set(),
    "failed": set(),
}
ROLLBACK_PENDING = ("draft", "previewing", "awaiting_approval", "approved", "queued")
ROLLBACK_ACTIVE = (*ROLLBACK_PENDING, "running")

OPERATION = {
    "queued": {"leased", "cancelled", "running", "succeeded", "failed", "indeterminate"},
    "leased": {"running", "queued", "succeeded", "failed", "cancelled", "indeterminate"},
    "running": {"queued", "succeeded", "failed", "cancelled", "indeterminate"},
    "indeterminate": {"running", "succeeded", "failed", "cancelled"},
    "cancelled": {"succeeded", "failed", "indeterminate"},
    "succeeded": set(),
    "failed": set(),
}
OPERATION_LEASED = ("leased", "running")
OPERATION_OPEN = ("queued", *OPERATION_LEASED)
OPERATION_ENDED = ("succeeded", "failed", "cancelled")

BACKUP = {
    "queued": {"running", "kept", "failed", "cancelled"},
    "running": {"queued", "kept", "failed", "cancelled"},
    "kept": {"forgotten"},
    "failed": {"kept"},
    "cancelled": {"kept"},
    "forgotten": set(),
}

CLONE = {
    # First what was configured by hand is listed; where that would be lost, someone decides.
    "inspecting": {"waiting", "queued", "failed", "cancelled"},
    "waiting": {"queued", "failed", "cancelled"},
    "queued": {"running", "done", "failed", "cancelled"},
    "running": {"queued", "done", "failed", "cancelled"},
    "done": set(),
    # An agent that comes back with the current token may still say how it ended.
    "failed": {"running", "done"},
    "cancelled": {"done", "failed"},
}
CLONE_ACTIVE = ("inspecting", "waiting", "queued", "running")

# An agent that comes back may still send what it was at.
DOWNLOAD = {
    "preparing": {"ready", "failed", "expired"},
    "ready": {"expired"},
    "failed": {"ready"},
    "expired": set(),
}

EXCLUSIVE_KINDS = ("deploy", "rollback", "restore", "import", "clone", "destroy")
HEAVY_KINDS = (*EXCLUSIVE_KINDS, "backup", "restore_test", "export", "rehearse")
MAX_ATTEMPTS = 3


def allowed_from(table, target):
    """Return the states from which ``target`` may be reached."""
    return tuple(state for state, targets in table.items() if target in targets)


def after_lost_lease(kind, attempt):
    """Return the state of an operation whose lease ran out on its ``attempt``-th try."""
    if attempt < MAX_ATTEMPTS:
        return "queued"
    return "indeterminate" if kind in EXCLUSIVE_KINDS else "failed"
