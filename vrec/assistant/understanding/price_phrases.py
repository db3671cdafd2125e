"""Phrases about prices in messages: bounds, ranges, approximate amounts, cheaper and dearer."""

import re
from collections.abc import Callable
from dataclasses import replace

from vrec.assistant.currencies import CURRENCY
from vrec.assistant.prices import ABOUT, PriceRange, PriceWish, about

_CURRENCY = rf"(?:元|块钱|块|圆|kuai\b|{CURRENCY})"
_M = rf"(?:{CURRENCY})?\s*(\d+(?:\.\d+)?)\s*{_CURRENCY}?"
_MONEY = rf"(?:{CURRENCY}\s*(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)\s*{_CURRENCY})(?![a-z])"
_NEARLY = (
    r"(?:(?<!what )(?<!how )about|around|approximately|approx\.?|roughly|near(?:ly)?|circa|close to"
    r"|something like|more or less|ish"
    r"|(?:some(?:where|thing) )?in the (?:region|neighbou?rhood|ballpark|area|vicinity) of)(?: the)?"
)
_TO = r"\s*(?:-|~|–|—|to|and(?: up to)?|&|until|up to|到|至|和)\s*"
_NOT = (
    r"(?:\bnot?\b|\bnothing\b|\bnone\b|\bnobody\b|\bwithout\b|\bnever\b|\bcannot\b|\b(?:do|did|does"
    r"|ca|wo|would|should|must"
    r"|could|is|are|need|ai)n['’]?t\b|\brather not\b|\bavoid\b)"
)
_OVER = (
    r"(?:more(?: expensive| costly)? than|over|above|beyond|exceed(?:s|ing)?|past|higher than"
    r"|pricier than|dearer than"
    r"|costlier than|north of|in excess of)"
)
_UNDER = r"(?:less(?: expensive)? than|under|below|beneath|lower than|cheaper than|south of)"
_HAN_NOT = r"(?:不要|不能|不可以?|不想|不会|不得|不可能|别|不|没|勿)"
_HAN_OVER = r"(?:超过?了?|高于|多于|大于|贵过|贵于|高过|突破)"
_HAN_UNDER = r"(?:低于|少于|小于|便宜于|不足|不到)"
_HAN_REFUSE = (
    r"(?:的|的话)?(?:都|就|我)*(?:不要|不看|不考虑|不买|别看|别给我看|免谈|算了|排除|就?不用看|太贵"
    r"|太便宜|质量不好)"
)
_HAN_NEARLY = r"(?:大约|大概|差不多|约|将近|接近|左近|大致|估计)"
_HAN_ROUND = r"(?:左右|上下|附近|的样子|前后)"


def _between(low: float, high: float) -> PriceRange:
    return PriceRange(min(low, high), max(low, high))


def _exactly(price: float) -> PriceRange:
    return PriceRange(price, price)


def _at_most(price: float) -> PriceRange:
    return PriceRange(most=price)


def _below(price: float) -> PriceRange:
    return PriceRange(most=price, below=True)


def _at_least(price: float) -> PriceRange:
    return PriceRange(least=price)


def _above(price: float) -> PriceRange:
    return PriceRange(least=price, above=True)


def _and_some(price: float) -> PriceRange:
    """Return the range of 三百多: up to the next number with as many digits that are not zero."""
    zeros = len(f"{price:.0f}") - len(f"{price:.0f}".rstrip("0"))
    return PriceRange(price, price + 10**zeros, below=True)


def _a_bit_over(price: float) -> PriceRange:
    """Return the range of 一百出头: up to 130."""
    zeros = len(f"{price:.0f}") - len(f"{price:.0f}".rstrip("0"))
    return PriceRange(price, price + max(0.3 * 10**zeros, 0.1 * price))


def _just_under(price: float) -> PriceRange:
    """Return the range of 小两百: a fifth below the amount."""
    return PriceRange(round(price * (1 - ABOUT), 6), price)


_ENGLISH: tuple[tuple[str, Callable[..., PriceRange]], ...] = (
    (rf"\b(?:between|from|in the)\s+{_M}{_TO}{_M}(?: (?:range|bracket))?", _between),
    (
        rf"(?<![\d.]){_M}(?:\s*(?:-|~|–|—|到|至)\s*|\s+(?:to|up to)\s+){_M}(?:\s*之间| (?:range"
        rf"|bracket))?", _between),
    (
        rf"\b(?:at least|over|above|more than)\s*{_M}(?:,| and| but)? (?:at most|under|below|less than"
        rf"|no more than)\s*{_M}", _between),
    (
        rf"\b(?:budget|limit|price range)(?:'s| is|:)?(?: some| any)?(?:where)?(?: between| from)?"
        rf"\s*{_M}{_TO}{_M}", _between),
    (r"\b(?:no more than|not more than|not over|not above|at most|up to|as much as)\s*" + _M, _at_most),
    (rf"{_NOT}(?: \w+){{0,5}} (?:(?:a )?(?:cent|penny|dime|dollar|bit) )?{_OVER}\s*{_M}", _at_most),
    (rf"{_NOT}(?: \w+){{0,5}} {_UNDER}\s*{_M}", _at_least),
    (
        r"\b(?:max(?:imum)?\.?(?: of| is|:)?|within|to stay within|cap(?:ped)? (?:it |them "
        r"|that )?(?:at|to))\s*" + _M, _at_most),
    (rf"\b(?:budget|limit|spend)(?:'s| is| of|:)? {_NEARLY}\s*{_M}", about),
    (
        r"\b(?:budget|limit|ceiling|cap|maximum|max|the most (?:i|we)(?:'d|'ll| would| can| could"
        r"| want to| will)?"
        r" (?:pay|spend|afford|give|go))(?:'s| is| of|:| at)?\s*" + _M,
        _at_most,
    ),
    (r"\b(?:i|we)(?:'ve| have|'ve got| have got| got| only have|'ve only got)(?: just| only| about)?\s*" + _M
     + r"(?: (?:to spend|for it|for this|left|in total|available|max))", _at_most),
    (
        r"\b(?:can|could|would|will|'ll|'d|happy to|willing to|want to) (?:only )?(?:pay|spend|go"
        r"|afford|stretch|push|rise)(?: only| up to| to| as (?:high|far) as)?\s*" + _M
     + r"(?![\d.]|\s*(?:to|-|–|and|or more|and up|\+))", _at_most),
    (rf"\b(?:i|we)(?:'ve| have|'ve got| have got| got)(?: just| only)?\s*{_MONEY}(?=$|[ ,.!])", _at_most),
    (r"\b(?:keep|stay|stick|hold|limit) (?:it |them |this |that )?(?:to|at|within)\s*" + _M, _at_most),
    (rf"{_M}\s*(?:at the outside|(?:is|'s) (?:plenty|enough|all i have|it))\b", _at_most),
    (r"(?:<=|≤)\s*" + _M, _at_most),
    (
        rf"{_M}\s*(?:or (?:less|under|cheaper|below|lower)|and (?:below|under|less)|at (?:the )?most"
        rf"|budget\b)", _at_most),
    (
        rf"{_M}\s*(?:(?:is|'s|as) (?:my|the|our) (?:absolute |upper |top )?(?:max(?:imum)?|limit"
        rf"|budget|ceiling|cap|most|top))"
        r"(?: (?:i|we)(?:'d|'ll| would| can| could| want to| will)? (?:pay|spend|afford|give|go))?",
        _at_most,
    ),
    (rf"{_M}\s*(?:max(?:imum)?\b|tops?\b|limit\b|or so max)", _at_most),
    (r"\b(?:under|below|less than|cheaper than|lower than|sub|beneath|south of|shy of)[ -]?\s*" + _M, _below),
    (r"<\s*" + _M, _below),
    (
        r"\b(?:no less than|not less than|not under|not below|no lower than|no cheaper than"
        r"|at least)\s*" + _M, _at_least),
    (
        r"\b(?:min(?:imum)?(?: of| is|:)?|starting (?:at|from)|upwards? of"
        r"|(?<!again )(?<!start )(?<!begin )from)\s*" + _M, _at_least),
    (r"(?:>=|≥)\s*" + _M, _at_least),
    (
        rf"{_M}\s*(?:or (?:more|above|over|up|higher|dearer)|and (?:up|above|over|more|higher)|\+"
        rf"|upwards?\b|plus\b"
     r"|(?:at (?:the )?)?(?:minimum|least)\b|at min\b)", _at_least),
    (r"\bat\s*" + _M + r"\s*(?:minimum|least)\b", _at_least),
    (
        r"\b(?:over|above|more than|higher than|beyond|north of|in excess of|pricier than|dearer than"
        r"|more expensive than)\s*" + _M, _above),
    (r">\s*" + _M, _above),
    (rf"\b{_NEARLY}\s*{_M}(?![a-z])(?: (?:mark|range|bracket))?", about),
    (
        rf"{_M}\s*(?:or so|or thereabouts|-ish|ish\b|give or take|more or less|roughly|approximately"
        rf"|(?:price )?(?:mark|range|bracket)\b)", about),
    (rf"\b(?:exactly|precisely)\s*{_M}", _exactly),
    (rf"{_M}\s*(?:exactly|precisely|on the dot)\b", _exactly),
)  # fmt: skip
_CHINESE: tuple[tuple[str, Callable[..., PriceRange]], ...] = (
    (rf"{_M}\s*和\s*{_M}\s*之间", _between),
    (
        rf"{_M}\s*(?:以上|起|往上|起步)[，,、 ]*(?:但|且|并且|而且)?(?:不超过|不要超过"
        rf"|最多)?\s*{_M}\s*(?:以下|以内|之内|封顶)?", _between),
    (rf"(?:刚好|正好|恰好|刚刚好)(?:是|要)?\s*{_M}", _exactly),
    (rf"{_M}\s*整(?![a-z\u4e00-\u9fff])", _exactly),
    (rf"(?:{_HAN_NOT}|最好别|最好不)(?:想|能|要|会|再)?{_HAN_OVER}\s*{_M}", _at_most),
    (rf"{_HAN_OVER}\s*{_M}\s*{_HAN_REFUSE}", _at_most),
    (rf"{_M}\s*(?:以上|往上){_HAN_REFUSE}", _at_most),
    (rf"{_HAN_UNDER}\s*{_M}\s*{_HAN_REFUSE}", _at_least),
    (rf"{_M}\s*(?:以下|往下){_HAN_REFUSE}", _at_least),
    (
        rf"(?:最多|最高|至多|顶多|上限|控制在|封顶|不高于|不多于|不大于|不贵于|限额)(?:能|只能|可以"
        rf"|我)?(?:出|花|给|到|是|付|为|在|接受)*\s*{_M}\s*(?:以内|以下|之内)?", _at_most),
    (
        rf"(?:手头|手里|身上|兜里|我)?(?:就|只|仅|也就|一共|总共)(?:有|剩|带了?|能花|能出"
        rf"|想花)*\s*{_M}(?:钱)?(?![个条双件款只张支盏本把套台样号码年天])(?={_CURRENCY}|$"
        rf"|[，。,!！ 了吧啊呀])", _at_most),
    (rf"{_M}(?:钱)?(?:就)?(?:能|可以)(?:买|拿|搞|入)", _at_most),
    (rf"(?:能|可以)(?:接受|承受|出|花)(?:的是|到)?\s*{_M}", _at_most),
    (rf"预算(?:是|在|为|就)?(?:{_HAN_NEARLY})?\s*{_M}{_TO}{_M}(?:之间|的样子)?", _between),
    (rf"预算(?:是|在|为|就)?{_HAN_NEARLY}\s*{_M}{_HAN_ROUND}?", about),
    (rf"预算(?:是|在|为|就)?\s*{_M}{_HAN_ROUND}", about),
    (rf"预算(?:是|在|为|就|只有|有|大概|大约)?\s*{_M}\s*(?:以内|以下|之内)?", _at_most),
    (rf"{_M}(?:的)?预算", _at_most),
    (rf"(?:低于|少于|小于|不到|便宜于|不足|便宜到)\s*{_M}(?:以下|以内)?", _below),
    (rf"(?:不低于|不少于|至少|最低|最少|起码|不小于)(?:要|得|也要|也得)?\s*{_M}", _at_least),
    (rf"(?:高于|超过|大于|多于|贵于)\s*{_M}", _above),
    (rf"{_HAN_NEARLY}(?:在|是|要)?\s*{_M}\s*{_HAN_ROUND}?", about),
    (rf"{_M}\s*(?:左右|上下|附近|的样子|前后)(?:的样子|浮动)?", about),
    (rf"{_M}\s*(?:以下|以内|之内|之下|封顶|往下|打住|为限)", _at_most),
    (rf"{_M}\s*(?:以上|起步|起|往上|朝上|开外|打底|之上)", _at_least),
    (rf"(?<![\d.])(\d+)\s*(?:多|几)\s*{_CURRENCY}", _and_some),
    (
        rf"(?:预算|价格|价位|大概|大约){{0,2}}(?:是|在|就)?(?<![\d.])(\d+)\s*{_CURRENCY}?"
        r"\s*(?:出头|多一?点)", _a_bit_over),
    (rf"(?:撑死|大不了|顶多)(?:了|也就|就)?\s*{_M}", _at_most),
    (rf"{_M}\s*(?:顶天|撑死|到头|搞定)了?", _at_most),
    (r"小\s*(\d{3,}(?:\.\d+)?)(?![码号])", _just_under),
    (rf"(?<![\d.])(\d+)\s*来\s*{_CURRENCY}", about),
    (_MONEY, about),
)  # fmt: skip
_CHEAPEST = (
    r"\b(?:the )?(?:cheapest|least expensive|most affordable|lowest[- ]priced|least pricey)(?: (?:one"
    r"|ones|first))?\b"
    r"|\b(?:the )?lowest prices?(?: first)?\b|\blow(?:est)?(?: price)? to high(?:est)?\b|\bascending\b"
    r"|最便宜的?|价格最低的?|从低到高|最低价的?|最实惠的?|便宜的(?:先|排前|在前)"
)
_DEAREST = (
    r"\b(?:the )?(?:most expensive|priciest|dearest|highest[- ]priced|costliest)(?: (?:one|ones|first))?\b"
    r"|\bhighest price(?: first)?\b|\bhigh(?:est)?(?: price)? to low(?:est)?\b|\bdescending\b|最贵的?"
    r"|价格最高的?|从高到低"
)
_A_BIT = r"(?:much |a (?:bit|little|lot|touch|tad) |even |slightly |far |somewhat |bit )?"
_CHEAPER = (
    rf"\b{_A_BIT}(?:cheaper|less expensive|lower[- ]priced|more affordable|less pricey"
    rf"|less costly)(?: ones?)?\b"
    r"|\b(?:too|so|very|pretty|quite|rather|a bit|bit|a little|really|way too|all|fairly|kinda"
    r"|awfully|over)[- ]*"
    r"(?:expensive|pricey|pricy|dear|steep|costly|overpriced|much money|rich)\b(?: for (?:me|us|my \w+))?"
    r"|\b(?:expensive|pricey|steep)(?= ?(?:[,.!?]|$))"
    r"|\blower (?:the )?prices?\b|\bnot (?:so|too|that|as) (?:expensive|pricey|dear|costly)\b"
    r"|\b(?:something|anything) (?:cheap|inexpensive|affordable|economical)\b|\binexpensive\b"
    r"|\b(?:anything|something|go|bit|any|a little|little|much|get)(?: a bit"
    r"| a little)? lower\b(?: than (?:that|this|these))?|\blower please\b|^lower\b"
    r"|\b(?:costs?|costing|pay|spend|paying) (?:a bit |a little )?less\b"
    r"|\b(?:out of|over|above|beyond|more than|outside)(?: of)? (?:my|our|the) (?:budget|price range"
    r"|range|means|limit)\b"
    r"|\bmore than (?:i|we)(?:'d| had| would)?(?: \w+)? ?(?:wanted|want|planned|plan|meant|mean|like"
    r"|hoped|expected|can|could|have)(?: to)?(?: (?:pay|spend|afford))?\b"
    r"|\b(?:a lot|lots|too much|so much|that much|loads) (?:of )?(?:money|cash|to pay|to spend)\b"
    r"|\b(?:can['’]?t|cannot|can not|couldn['’]?t) (?:really )?afford(?: (?:it|that|this|these|them"
    r"|those))?\b"
    r"|\bbudget[- ]friendly\b|\bbetter (?:deal|price|value)s?\b|\b(?:bargain|budget) (?:option|one"
    r"|version|buy)s?\b|\bmore economical\b|\bbargains?\b(?! with)"
    r"|(?:再|更|还要|能不能|能)?便宜(?:一点儿?|点儿?|一些|些)(?:的)?|(?:更|再|有没有)便宜的?|(?:价格"
    r"|价钱|价位)?(?:能|可以|可不可以)?(?:再|更)?(?:低|降|少)(?:一点儿?|点儿?|一些|些)(?:的)?"
    r"|(?:有点儿?|有些|太|好|这么|都|真|那么|略|偏|挺|蛮|还是|也太)贵(?:了|啊|呀|啦|吧|哦|哟|的|(?=$"
    r"|[，。,!！ ]))+|^贵了|贵了(?:点|些)?|不要(?:太|那么)贵的?|别太贵的?"
    r"|(?:有点|有些)?(?:超|超出|超过)(?:了)?(?:我的?)?(?:预算|心理价位)了?|买不起|(?:更|比较"
    r"|再)?(?:实惠|划算|平价|经济|亲民)(?:一点儿?|点儿?|一些|些)?的?|性价比(?:更|再)?高(?:一点儿?"
    r"|点儿?|一些|些)?的?|省钱(?:点|些|的)?"
)
_DEARER = (
    r"\b(?:a (?:bit|little) )?(?:more expensive|pricier|dearer|higher[- ](?:priced|end)|more premium"
    r"|more upscale|more luxurious|more high[- ]end)(?: ones?)?\b"
    r"|\b(?:pay|spend|go) (?:a bit |a little )?(?:more|higher)\b|\b(?:high[- ]end|upscale|upmarket"
    r"|premium|luxury)\b|\b(?:too|look|looks|so) cheap\b"
    r"|(?:再|更)?(?:贵|高档|高端|上档次)(?:一点儿?|点儿?|一些|些)(?:的)?(?:也|都)?(?:没关系|可以|行"
    r"|没事|无所谓)?"
    r"|(?:更|再)(?:贵|高档|高端|上档次)的?|太便宜了?"
)
_SCANNERS = [(re.compile(pattern), make) for pattern, make in (*_ENGLISH, *_CHINESE)]
_DIGIT = re.compile(r"\d")
_OTHERS = [
    (re.compile(pattern), kind)
    for pattern, kind in (
        (_CHEAPEST, PriceWish(0, 0, order="cheaper")),
        (_DEAREST, PriceWish(0, 0, order="dearer")),
        (_CHEAPER, PriceWish(0, 0, step="cheaper")),
        (_DEARER, PriceWish(0, 0, step="dearer")),
    )
]
MAX_ALONE_CHARS = 60
_ALONE = re.compile(
    r"(?:(?:no|nope|wait|sorry|oops|hmm+|ok(?:ay)?|actually|i meant?(?: to say)?"
    r"|hang on|it should be|should be|well|then|rather|please|say"
    r"|let'?s say|make (?:it|that|this)"
    r"|change (?:it|that) to|how about|what about|maybe|perhaps|or|instead|better|and|now|不对?"
    r"|哦|啊|那|刚才|刚刚|其实|(?:打|写)错了?"
    r"|还是|就|应该是|是|等等|改成|改|换成"
    rf"|改到|调到|调成|算了|说错了|错了|我是说)[\s,.，。!！|]*)*{_M}\s*(?:please|then|instead|maybe"
    rf"|max|actually|though|才对|吧|好了|呢|的|块钱?)*\s*[.!。！]*"
)
"""A message that is an amount and no more, such as "no wait, 130" or 改成80吧."""
_TAKEN_BACK = re.compile(
    r"(?:\b(?:did )?(?:i|we) (?:said|say|wrote|typed|asked for)|\bnot|\binstead of|\brather than|不是"
    rf"|我?(?:刚才|刚刚|之前)?(?:说|写|打)(?:的是?|成了?))\s*{_M}(?:(?:说|写|打)错了?)?"
    r"[,.?!，。？！ ]*(?:but\b)?"
    rf"|{_M}\s*(?:(?:说|写|打)错了?|不对)[,，。 ]*"
)
"""Amounts that another takes the place of: "I said 130, I meant 150"."""


def price_wishes(text: str) -> list[PriceWish]:
    """Return what a text says of prices, from the left; of phrases that overlap, the one that begins first.

    Args:
        text: Text in its normal form, with numbers as digits (`with_digits`).
    """
    found: list[PriceWish] = []
    # Every range has a number; most messages have none.
    for pattern, make in _SCANNERS if _DIGIT.search(text) else ():
        for match in pattern.finditer(text):
            amounts = [float(group) for group in match.groups() if group is not None]
            found.append(PriceWish(match.start(), match.end(), range=make(*amounts)))
    for pattern, kind in _OTHERS:
        found.extend(replace(kind, start=match.start(), end=match.end()) for match in pattern.finditer(text))
    found.sort(key=lambda wish: (wish.start, -wish.end))
    kept: list[PriceWish] = []
    for wish in found:
        if not kept or wish.start >= kept[-1].end:
            kept.append(wish)
    return kept


def amount_alone(text: str) -> float | None:
    """Return the amount of a message that names one and says nothing of it; None for any other.

    Args:
        text: Text in its normal form, with numbers as digits.
    """
    if len(text) > MAX_ALONE_CHARS:
        return None
    found = _ALONE.fullmatch(text)
    if found is None:
        found = _ALONE.fullmatch(_TAKEN_BACK.sub(" ", text).strip())
    return None if found is None else float(found[1])
