"""Everything `make up` and `make demo` need on a fresh machine; `stack.Stack` is the interface for others.

Settings, from the environment, each with a default that fits a laptop:

    ODOOOPS_STATE_FOLDER   where all state goes (.run)
    ODOOOPS_BIND_ADDRESS   where Caddy listens (127.0.0.1); on a server 0.0.0.0 shows the demo to others
    ODOOOPS_CONSOLE_HOST   a further host name or address of the console, for those others
    ODOOOPS_DEBIAN_MIRROR  a Debian mirror, for a machine whose apt has none and that reaches no image registry
"""
