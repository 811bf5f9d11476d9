"""The errors that drive the agent's behaviour; each message is one sentence that says what to do next."""


class AgentError(Exception):
    """Any failure the agent can explain; `code` is what the control plane stores."""

    code = "failed"

    def __init__(self, message: str, code: str | None = None, log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.log_tail = log_tail
        if code:
            self.code = code


class Refused(AgentError):
    """The operation may not run as things stand; nothing was changed."""

    code = "refused"


class Retryable(AgentError):
    """A part is away for the moment (PostgreSQL, Docker, the proxy, the network); trying again may do."""

    code = "unavailable"


class Permanent(AgentError):
    """Trying again will not help; what was done has to be undone."""

    code = "failed"


class LeaseLost(AgentError):
    """A newer fencing token exists: another worker owns the environment, so touch nothing more."""

    code = "lease_lost"


class Cancelled(AgentError):
    """The control plane called the operation off before its point of no return."""

    code = "cancelled"


class UnreadableOperation(AgentError):
    """The control plane leased an operation that this agent can't read: it can only be refused."""

    code = "bad_message"

    def __init__(self, message: str, operation_id: int, token: int) -> None:
        super().__init__(message)
        self.operation_id = operation_id
        self.token = token


class Unauthorized(AgentError):
    """The control plane does not accept this agent's key: enrol the droplet again, or renew its key."""

    code = "unauthorized"


class Unrecorded(AgentError):
    """The journal can't be read or written: nothing new may begin, and what has begun is brought to safety."""

    code = "journal_failed"


class UnknownOperation(AgentError):
    """The control plane knows no such operation of this agent: nothing more can be reported about it."""

    code = "unknown_operation"
