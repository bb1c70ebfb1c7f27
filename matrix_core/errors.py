"""The kinds of failure that a person is told about in one line."""


class UserError(Exception):
    """Bad input or settings: what was wrong, where, and what to do. Exit code 2."""


class RunError(Exception):
    """A run that failed although its input was good. Exit code 1."""


class BudgetError(RunError):
    """A run that has used up what it may spend. What is finished is kept; a larger budget takes it on."""
