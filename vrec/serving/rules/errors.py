"""Errors of changes of the shop's rules."""

from vrec.core.errors import VrecError


class UnknownRule(VrecError):
    """Id of a rule that does not exist."""

    fix = "give the id of a rule of GET /v1/rules"


class RuleConflict(VrecError):
    """Change of a rule that is not as its editor believes."""

    fix = "read the rule again, and send the change with its present ETag in If-Match"


class RuleLimit(VrecError):
    """Rule beyond the maximum number."""

    fix = "delete rules that have ended"
