"""Facets of which a message says that they do not matter: "any colour", "price is no object", 牌子无所谓."""

import re
from collections.abc import Mapping
from typing import Literal

from vrec.assistant.commands import Span
from vrec.assistant.query import Facet

AnyFacet = Facet | Literal["price"]
_NOUNS: Mapping[AnyFacet, str] = {
    "color": r"colou?rs?|颜色",
    "creator": r"brands?|makers?|labels?|manufacturers?|牌子|品牌|厂家|商家",
    "size": r"sizes?|尺码|尺寸|码数|大小",
    "attribute": r"materials?|fabrics?|材质|面料|料子|材料",
    "price": r"prices?|budget|costs?|money|价格|价钱|价位|预算",
}
_LIMIT = r"(?: (?:limits?|filters?|range|restrictions?|constraints?|preferences?|caps?|ceiling))?"
_THE = r"(?: (?:about|of|on|for))?(?: (?:the|my|that|what|which))?"
_BEFORE = (
    r"\b(?:any|whatever|whichever|all|every|forget|never ?mind|ignore|drop|remove|lose|lift|scrap|clear"
    r"|delete|cancel|get rid of|take off|take away|do(?:n't|n’t|nt| not) (?:care|mind|bother)"
    r"|do(?:es)?(?:n't|n’t|nt| not) have an?|not (?:too |that |so )?(?:fussy|picky|bothered"
    r"|particular|fixed|set)"
    r"|regardless|irrespective|(?:open|flexible)(?: to any| to)?|at any|in any|in all|in every)"
)
"""Words before a facet's name by which it does not matter."""
_AFTER = (
    r"(?: (?:really|actually|honestly))?"
    r"(?: (?:do|does|is|are)(?: not|n't|n’t|nt)"
    r"(?: (?:a|an|an issue|that|so|really|very|too|important|matter|problem|big deal|fixed|relevant"
    r"|issue))+\b"
    r"| (?:is|are) (?:un|not )important\b| (?:is|are) (?:irrelevant|secondary|flexible|open|optional"
    r"|no (?:object|issue|problem|matter)|of no (?:importance|consequence|concern|interest))\b"
    r"| makes? no (?:difference|odds)\b"
    r"| (?:can|could|may) be any(?:thing)?\b| (?:is|are) up to you\b| whatever\b| does ?n[o']t matter\b)"
)
_HAN_LIMIT = r"(?:的)?(?:限制|要求|条件|上限|范围)?"
_HAN_BEFORE = (
    r"(?:不限|不限制|不管|不论|不考虑|不在乎|不在意|不挑|不看|别管|别看|忽略|去掉|取消|删掉|放开|什么"
    r"|任何|随便什么|各种|哪种|所有|哪个)"
)
_HAN_AFTER = (
    r"(?:我|我们)?(?:都|也|就|倒|先|是|其实|真的|完全|根本){0,4}(?:不限制?|无所谓|行|可以|随便|随意|不重要|没关系|没要求"
    r"|不挑|不用管|不必管"
    r"|不管|没问题|不是问题|不设限|取消|去掉|删掉|不考虑|不在乎|不在意|好说|放开|不作要求|喜欢|没限制"
    r"|没所谓|都成|成)了?"
)


def _any_of(noun: str) -> re.Pattern[str]:
    fine = (
        r"(?: (?:is|are|would be|will be))? (?:fine|ok(?:ay)?|good|welcome|possible)(?: too"
        r"| as well)?| will do| works?"
    )
    return re.compile(
        rf"{_BEFORE}{_THE} (?:{noun}){_LIMIT}\b(?! (?:but|except|other|apart|besides|aside))(?:{fine})?"
        rf"|\b(?:(?:open|happy|fine|ok(?:ay)?) (?:to|with) )?(?:other|different) (?:{noun})"
        r" (?:(?:are|is|would be) )?"
        r"(?:(?:fine|ok(?:ay)?|welcome|good|possible)(?: too| as well)?|too|also|as well)\b"
        rf"|\b(?:open|happy|fine|ok(?:ay)?) (?:to|with) (?:other|different) (?:{noun})\b"
        rf"|\b(?:the |my )?(?:{noun})\b{_LIMIT}{_AFTER}"
        rf"|\bno (?:{noun})(?: preference| limits?| restrictions?| filters?| ceiling"
        rf"| cap)(?: any ?more| any longer| now)?\b"
        rf"|(?<![这那个种])(?:{noun}){_HAN_LIMIT}[ ，,]?{_HAN_AFTER}"
        rf"|\b(?:{noun})[:,]? (?:any|whatever)(?=$|[,.!])"
        rf"|(?:其他|其它|别的|另外的)(?:{noun})(?:我)?(?:都|也)(?:行|可以|好|没关系|无所谓|要|看看|来|想看)+"
        rf"|{_HAN_BEFORE}(?:{noun}){_HAN_LIMIT}(?:我)?(?:都|也)?(?:行|可以|好|没关系|无所谓|喜欢|要|成|了)*"
    )


_ANY_OF: Mapping[AnyFacet, re.Pattern[str]] = {facet: _any_of(noun) for facet, noun in _NOUNS.items()}
_FURTHER: Mapping[AnyFacet, re.Pattern[str]] = {
    "price": re.compile(
        r"\bno budget\b|\b(?:do(?:n't|n’t|nt| not) (?:care|mind)|no matter|regardless of) (?:what|how much)"
        r" (?:it|they|this|that|these) costs?\b|\bwhat(?:ever)? (?:it|they) costs?\b(?=$|[,.!])"
        r"|\bcost what it may\b"
        r"|\b(?:at|for) any (?:price|cost)\b|\bmoney is not? (?:an? )?(?:object|issue|problem)\b"
        r"|\bskip the (?:price|budget)\b|多少钱(?:我)?(?:都|也)(?:行|可以|没关系|无所谓|好|要|买)"
        r"|贵不贵(?:都|无所谓)\S{0,3}|不差钱|钱不是问题"
    ),
    "creator": re.compile(
        r"\bany(?:body|one)(?:'s| will do)\b|(?:哪|谁)(?:一)?(?:家|个牌子|个品牌)(?:的|出的"
        r"|产的)?(?:我)?(?:都|也)?(?:行|可以|好|成|没关系|无所谓)"
    ),
    "color": re.compile(
        r"(?:啥|什么)色(?:的)?(?:都|也)(?:行|可以|好|成)|\b(?:do(?:n't|n’t|nt| not) (?:care"
        r"|mind)) (?:what|which) colou?rs?(?: (?:it is|they are))?"
    ),
}


def says_any(text: str) -> list[tuple[AnyFacet, Span]]:
    """Return the facets of which a text in its normal form says that they do not matter, and where.

    Args:
        text: The text.
    """
    tables = (_ANY_OF, _FURTHER)
    return [
        (facet, Span(match.start(), match.end()))
        for table in tables
        for facet, pattern in table.items()
        for match in pattern.finditer(text)
        if not _is_refusal(text, match)
    ]


_REFUSAL = re.compile(r"(?:别|不要?|除了?这?个?|换个?)$")


def _is_refusal(text: str, match: re.Match[str]) -> bool:
    """Return whether what stands before a phrase says the opposite: 别的颜色, 除了这个颜色都行."""
    return _REFUSAL.search(text[: match.start()]) is not None
