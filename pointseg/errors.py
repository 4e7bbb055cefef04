"""The one error a user is meant to read."""

from hydra.errors import CompactHydraException


class InputError(CompactHydraException):
    """Input that cannot be used: says what was found, where, and what to do about it.

    Derives from Hydra's compact exception because Hydra prints those without a traceback, and
    because a multirun counts it as one failed job rather than ending the sweep.
    """
