"""Errors of the loop."""

from vrec.core.errors import VrecError


class LoopRuns(VrecError):
    """Loop whose output folder another loop uses."""

    fix = "wait for the other loop to end, or give another --out"


class LeaseLost(VrecError):
    """Loop that was silent for so long that another one may have taken its place."""

    fix = "see that no other loop runs on this --out, and run the command again: it goes on from here"


class LoopError(VrecError):
    """Loop that cannot go on: no log, a bundle in service that cannot be read, an unknown bundle."""

    fix = "see docs/loop.md"


class ServiceRefused(VrecError):
    """Call of the running service that it refused or did not answer."""

    fix = "see that the service runs at --service, and that the key has the scopes read and manage"
