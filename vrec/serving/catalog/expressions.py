"""Filter expressions such as `category in ["mugs", "hats"] and price <= 20 and not tag = "sale"`."""

import difflib
import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Literal, cast, get_args

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args

from vrec.core.errors import VrecError
from vrec.serving.messages import BooleanFilter, FieldComparison, FilterExpression, KindOfVideo

EXPRESSION_FORMAT = "vrec-filter-expression"
"""`format` of expressions in the OpenAPI document."""
MAX_EXPRESSION_CHARS = 4_000
"""Maximum length of an expression."""
MAX_EXPRESSION_VALUES = 200
"""Maximum number of values in an expression."""
MAX_EXPRESSION_DEPTH = 20
"""Maximum depth of parentheses and `not`."""
TEXT_FIELDS = ("kind", "category", "creator", "tag", "language")
NUMBER_FIELDS = ("price",)
EXPRESSION_FIELDS = (*TEXT_FIELDS, *NUMBER_FIELDS)
CLOSED_FIELDS: Mapping[str, Sequence[str]] = {"kind": get_args(KindOfVideo)}
"""Values of the fields that have no others; another value is most likely a typing error."""
_EQUALITY = ("=", "!=")
_GRAMMAR = r"""
?start: any_of
?any_of: all_of ("or"i all_of)*
?all_of: term ("and"i term)*
?term: "not"i term -> negation
     | "(" any_of ")"
     | FIELD OPERATOR _value -> comparison
     | FIELD "in"i _list -> membership
     | FIELD "not"i "in"i _list -> exclusion
_list: "[" _value ("," _value)* "]"
_value: STRING | NUMBER
OPERATOR: "<=" | ">=" | "!=" | "=" | "<" | ">"
FIELD: /(?!(?:and|or|not|in)\b)[a-z_][a-z0-9_]*/i
STRING: /"(\\["\\]|[^"\\\x00-\x1f\x7f])*"/
NUMBER: /-?[0-9]{1,12}(\.[0-9]{1,6})?/
%ignore /[ \t\r\n]+/
"""


class InvalidExpression(VrecError):
    """Filter expression that cannot be used."""

    fix = "correct the expression; docs/http.md has the grammar"


@lru_cache(maxsize=256)
def parse_expression(text: str) -> FilterExpression:
    """Parse a filter expression.

    Raises:
        InvalidExpression: The text is too long, too deep or no expression; the message has the position.
    """
    if len(text) > MAX_EXPRESSION_CHARS:
        raise InvalidExpression(f"it has {len(text):,} characters, and {MAX_EXPRESSION_CHARS:,} are allowed")
    try:
        _check_size(text)
        return _parser().parse(text)
    except UnexpectedToken as error:
        ends = error.token.type == "$END"
        reason = (
            "the expression ends too early" if ends else f"{str(error.token)[:40]!r} is not expected here"
        )
        raise _problem(len(text) if ends else error.token.start_pos or 0, reason) from None
    except UnexpectedCharacters as error:
        raise _problem(error.pos_in_stream, f"{text[error.pos_in_stream]!r} is not expected here") from None


class _ExpressionBuilder(Transformer[Token, FilterExpression]):
    """Builder of expressions from the parser's reductions."""

    @v_args(inline=True)
    def comparison(self, field: Token, operator: Token, value: Token) -> FilterExpression:
        if operator in _EQUALITY:
            equal = _comparison(field, "in", [value])
            return equal if operator == "=" else BooleanFilter("not", (equal,))
        return _comparison(field, cast("Any", str(operator)), [value])

    def membership(self, children: list[Token]) -> FilterExpression:
        return _comparison(children[0], "in", children[1:])

    def exclusion(self, children: list[Token]) -> FilterExpression:
        return BooleanFilter("not", (self.membership(children),))

    def negation(self, children: list[FilterExpression]) -> FilterExpression:
        return BooleanFilter("not", (children[0],))

    def all_of(self, children: list[FilterExpression]) -> FilterExpression:
        return BooleanFilter("and", tuple(children))

    def any_of(self, children: list[FilterExpression]) -> FilterExpression:
        return BooleanFilter("or", tuple(children))


@cache
def _parser() -> Any:
    return Lark(_GRAMMAR, parser="lalr", transformer=_ExpressionBuilder())


def _check_size(text: str) -> None:
    """Raise InvalidExpression for too many values or too deep nesting, before anything is built."""
    values = depth = negations = 0
    for token in _parser().lex(text):
        values += token.type in ("STRING", "NUMBER")
        depth += {"LPAR": 1, "RPAR": -1}.get(token.type, 0)
        negations = negations + 1 if token.type == "NOT" else 0
        if values > MAX_EXPRESSION_VALUES:
            raise _problem(token.start_pos, f"more than {MAX_EXPRESSION_VALUES} values")
        if max(depth, negations) > MAX_EXPRESSION_DEPTH:
            raise _problem(token.start_pos, f"nested deeper than {MAX_EXPRESSION_DEPTH}")


def _comparison(
    field: Token, operator: Literal["<", "<=", ">", ">=", "in"], values: Sequence[Token]
) -> FieldComparison:
    name, wanted = field.lower(), "STRING"
    if name not in EXPRESSION_FIELDS:
        near = difflib.get_close_matches(name, EXPRESSION_FIELDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"fields are {', '.join(EXPRESSION_FIELDS)}"
        raise _problem(field.start_pos, f"there is no field {name[:40]}: {hint}")
    if name in NUMBER_FIELDS:
        wanted = "NUMBER"
    elif operator != "in":
        raise _problem(field.start_pos, f"{name} has no order: compare it by =, != or in")
    for value in values:
        if value.type != wanted:
            kind = "a number" if wanted == "NUMBER" else "a text in double quotes"
            raise _problem(value.start_pos, f"{name} is compared with {kind}")
        if name in CLOSED_FIELDS and json.loads(value) not in CLOSED_FIELDS[name]:
            known = ", ".join(json.dumps(one) for one in CLOSED_FIELDS[name])
            raise _problem(value.start_pos, f"{name} is never {str(value)[:40]}: it is one of {known}")
    if wanted == "NUMBER":
        return FieldComparison(name, operator, tuple(float(value) for value in values))
    return FieldComparison(name, operator, tuple(json.loads(value) for value in values))


def _problem(position: int | None, reason: str) -> InvalidExpression:
    return InvalidExpression(f"at character {(position or 0) + 1}: {reason}")
