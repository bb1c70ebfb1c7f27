"""The two kinds of failure that a person is told about in one line."""


class UserError(Exception):
    """Bad input or settings: what was wrong, where, and what to do. Exit code 2."""


class RunError(Exception):
    """A run that failed although its input was good. Exit code 1."""
