"""Everything `make up` and `make demo` need on a fresh machine; `stack.Stack` is the interface for others."""
