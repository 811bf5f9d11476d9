"""What may go wrong while setting up, each as one sentence that says what to do."""


class SetupError(Exception):
    """The set-up can't go on; the text says why and what mends it."""


class CommandFailed(SetupError):
    """A command ended with an error.

    :param argv: the command, never holding a secret
    :param output: what it printed, the last lines of which are shown
    """

    def __init__(self, argv, returncode, output):
        self.argv, self.returncode, self.output = list(argv), returncode, output
        tail = "\n".join(f"    {line}" for line in output.strip().splitlines()[-25:])
        super().__init__(f"`{' '.join(self.argv[:6])}` failed with code {returncode}:\n{tail}")
