"""Parser of the part of PromQL that alert rules use: selectors, functions, aggregations and operators."""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?![\w.]))|(?P<duration>\d+[smhd](?!\w))|(?P<name>[a-zA-Z_:][\w:]*)|(?P<text>\"[^\"\n]*\")"
    r"|(?P<range>\[\d+[smhd]\])|(?P<operator>==|!=|>=|<=|=~|!~|[-+*/(){},<>=]))"
)
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
OPERATORS = (*COMPARISONS, "+", "-", "*", "/", "and", "or", "unless")
FUNCTIONS = (
    *("rate", "increase", "histogram_quantile", "vector", "absent", "clamp_min", "max_over_time"),
    *("deriv", "predict_linear"),
)
AGGREGATIONS = ("sum", "max", "min", "avg", "count")


@dataclass
class Selector:
    name: str
    matchers: list[tuple[str, str, str]] = field(default_factory=list)
    range: str = ""


@dataclass
class PromQuery:
    selectors: list[Selector] = field(default_factory=list)
    groupings: list[list[str]] = field(default_factory=list)
    is_comparison: bool = False


def parse_promql(text: str) -> PromQuery:
    """Parse an expression; raises ValueError."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text):
        self.tokens, at, text = [], 0, text.strip()
        while at < len(text):
            found = TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"no PromQL at {text[at:]!r}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self.at, self.query = 0, PromQuery()

    def parse(self):
        self.expression()
        if self.at < len(self.tokens):
            raise ValueError(f"no PromQL: {self.peek()} is left over")
        return self.query

    def peek(self):
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def kind(self):
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, wanted=None, kind=None):
        value = self.peek()
        if (wanted is not None and value != wanted) or (kind is not None and self.kind() != kind):
            raise ValueError(f"no PromQL: {value!r} where {wanted or kind} is wanted")
        self.at += 1
        return value

    def expression(self, nested=False):
        self.operand()
        while self.peek() in OPERATORS:
            self.query.is_comparison |= self.take() in COMPARISONS and not nested
            self.operand()

    def operand(self):
        value = self.peek()
        if value == "(":
            self.take()
            self.expression(nested=True)
            self.take(")")
        elif self.kind() == "number":
            self.take()
        elif value in AGGREGATIONS:
            self.take()
            if self.peek() in ("by", "without"):
                self.take()
                self.query.groupings.append(self.names())
            self.arguments()
        elif self.tokens[self.at + 1 : self.at + 2] == [("operator", "(")]:
            if self.take(kind="name") not in FUNCTIONS:
                raise ValueError(f"no PromQL: there is no function {value}")
            self.arguments()
        else:
            self.selector()

    def arguments(self):
        self.take("(")
        self.expression(nested=True)
        while self.peek() == ",":
            self.take()
            self.expression(nested=True)
        self.take(")")

    def names(self):
        self.take("(")
        found = [self.take(kind="name")]
        while self.peek() == ",":
            self.take()
            found.append(self.take(kind="name"))
        self.take(")")
        return found

    def selector(self):
        selector = Selector(self.take(kind="name"))
        if self.peek() == "{":
            self.take()
            while self.peek() != "}":
                label, operator = self.take(kind="name"), self.take(kind="operator")
                if operator not in ("=", "!=", "=~", "!~"):
                    raise ValueError(f"no PromQL: labels are not compared by {operator}")
                selector.matchers.append((label, operator, self.take(kind="text")[1:-1]))
                if self.peek() == ",":
                    self.take()
            self.take("}")
        if self.kind() == "range":
            selector.range = self.take()[1:-1]
        if self.peek() == "offset":
            self.take()
            self.take(kind="duration")
        self.query.selectors.append(selector)
