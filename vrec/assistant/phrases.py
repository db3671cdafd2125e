"""Phrases of conversation, English and Chinese: references to what was shown, negation, sizes."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from vrec.assistant.commands import COUNTERS, Span
from vrec.assistant.query import Facet

ORDINALS = {
    word: place
    for place, word in enumerate(
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"],
        start=1,
    )
} | {"last": -1}
_HAN_PLACES = {character: place for place, character in enumerate("一二三四五六七八九十", start=1)} | {
    "两": 2
}
_REFERENCE = re.compile(
    rf"(?:\bthe )?\b(?P<word>{'|'.join(ORDINALS)})\b(?! (?:time|hand|day|date|thing|week|month"
    rf"|year|name|class))"
    r"(?: (?:one|item|product|video|option|choice|result|picture))?"
    r"|\b(?:the )?(?P<nth>\d{1,2})(?:st|nd|rd|th)\b(?: (?:one|item|product|video|option))?"
    r"|(?:\b(?:number|no\.?|item|option|result)|#)\s*(?P<number>\d{1,2})\b(?!\.\d)"
    rf"|第(?P<place>[一二两三四五六七八九十]|\d{{1,2}})[{COUNTERS}]?(?P<tail>)"
    rf"|最后(?:一|那)?[{COUNTERS}](?P<final>)"
)
_POINTER = re.compile(rf"\b(?:this|that)(?: one| item| product)?\b|(?<!make )\bit\b|[这那]一?[{COUNTERS}]|它")
_SIZE = re.compile(
    r"\bsize (?P<a>xxs|xs|s|m|l|xl|xxl|xxxl|small|medium|large|\d{2,3}(?:\.5)?)\b"
    r"|\b(?P<b>xxs|xs|xl|xxl|xxxl)\b(?:\s*[码号])?"
    r"|\bin (?:a )?(?P<c>small|medium|large)\b"
    r"|(?P<d>\d{2,3}(?:\.5)?|xs|s|m|l|加大|特大|大|中|小)\s*[码号](?!\d)"
    r"|(?<![^\s,，、/|])(?<!\d )(?P<e>[sml])(?![^\s,.!?，。！？、/|])(?! ?[&+])"
)
_SIZE_NAMES = {
    "small": "s", "medium": "m", "large": "l", "小": "s", "中": "m", "大": "l", "加大": "xl", "特大": "xxl",
}  # fmt: skip

_NEGATION = (
    r"\b(?:not|no|nothing|without|except(?: for)?|other than|other \w+ than|rather than|instead of"
    r"|anything but"
    r"|everything but|all but|leave out|skip|excluding"
    r"|(?:don't|dont|don’t|do not|doesn't|doesn’t|didn't|won't|wouldn't|can't) (?:want|like|need|have"
    r"|wear|stand"
    r"|show(?: me)?)|hates?|dislikes?|avoid|(?:is|are|was|were|ai|should|must)n['’]t(?: be)?|never|nor)\b"
    r"|不(?:太|怎么|是很)?(?:要|想要|想|是|喜欢|含|带|爱|看|买|找)(?!不)|(?<!有)没有|别(?!的|人|致)|除了|除开"
    r"|讨厌|非(?!常)"
)
_CLAUSE_END = (
    r"\b(?:but|just|only|instead|rather|i want|i need|i'd like|show me|give me|make it|make them"
    r"|please|any other)\b"
    r"|[.;!?,。；！？，](?!\d)|但是?|而是|只要|只看|换成|换|改成|想要|要|以外|之外|都|就"
)
_AFTER = (
    r"\b(?:isn't|aren't|is not|are not|isn’t|ain't) (?:really |quite )?(?:my (?:thing|style|taste|cup of tea)"
    r"|for me|what i (?:want|need))\b|除外|就?不考虑|就?免了|(?:就)?算了(?=$|[,.!。，！])|pass(?=$"
    r"|[,.!。，！])|\b(?:is|are|looks?|feels?) (?:a (?:bit|little) |way |far )?too \w+|太[^\W\d_a-z]{1,3}了"
)
"""Negations behind what they refuse."""
_FREES = (
    r"\b(?:never ?mind|forget(?: about)?|(?:doesn't|doesn’t|does not|don't|needn't) (?:need to|have to) be"
    r"|not necessarily|no need for)\b|不一定(?:要|是)?|不(?:用|必)(?:是|要)?|不非要|去掉|取消|别管"
)
"""What takes a wish back without refusing it."""
_MARK = re.compile(rf"(?P<after>{_AFTER})|(?P<free>{_FREES})|(?P<no>{_NEGATION})|(?P<end>{_CLAUSE_END})")
_NOUNS: Mapping[Facet | Literal["price"], str] = {
    "color": r"colou?rs?|颜色",
    "creator": r"brands?|makers?|labels?|牌子|品牌|厂家|商家",
    "size": r"sizes?|尺码|尺寸|码数|大小",
    "attribute": r"materials?|fabrics?|材质|面料|料子",
    "price": r"price|budget|cost|money|价格|价钱|价位|预算",
}
_ANY_OF: Mapping[Facet | Literal["price"], re.Pattern[str]] = {
    facet: re.compile(
        rf"\b(?:any|whatever|all|every|forget(?: about)?|never ?mind|ignore)(?: about)?(?: the)? (?:{noun})"
        rf"(?: is (?:fine|ok)| will do| works)?\b|\bother (?:{noun}) (?:are|is|would be) (?:fine"
        rf"|ok(?:ay)?)(?: too)?\b"
        rf"|\b(?:the )?(?:{noun}) (?:does not|doesn't|doesn’t|do not|don't|is not|isn't|isn’t|aren't)"
        rf" (?:really |that |so )?(?:matter|important)\b|\b(?:{noun}) is (?:not |un)important\b"
        rf"|\bno (?:{noun}) (?:preference|limit)\b"
        rf"|(?:{noun})(?:我)?(?:都|也|就|倒)?(?:不限|无所谓|行|可以|随便|随意|不重要|没关系|没要求|不挑)"
        rf"|(?:不限|不管|不论|随便什么|什么|任何|别管|其他|其它|别的)(?:{noun})(?:我)?(?:都|也)(?:行"
        rf"|可以|好|没关系|无所谓)?"
        rf"|(?:不限|不管|别管|不论|什么|任何|随便什么)(?:{noun})(?:都|也)?(?:行|可以|好)?"
    )
    for facet, noun in _NOUNS.items()
}
_ANY_PRICE = re.compile(r"\bmoney is no (?:object|issue)\b|\bno budget\b|多少钱都(?:行|可以)")
_CORRECTION = re.compile(
    r"(?:\b(?:no|nope|oh|oops|wait|hmm+|sorry|ah)\b[,.! ]*)*\bi (?:actually )?(?:mean|meant"
    r"|was (?:looking for|thinking of))"
    r"(?: to say)?\b|\b(?:actually|on second thoughts?|oops|sorry|my (?:bad|mistake)"
    r"|i(?:'ve| have)? changed my mind)\b|\b(?:wait,? )?no[,.!] (?=.)|^no (?=sorry)"
    r"|不对(?:[，,。 ]|$)|(?:我|刚才|刚刚|之前)*(?:打|写|说|弄|搞|看|选)错了?[，,。]?|我(?:说|指)的是"
    r"|我的意思是|应该是|还是(?=要|换)"
)

_OTHER_COLOR = re.compile(
    r"\b(?:any|every|all|another|some)(?: other)? colou?rs? (?:but|except(?: for)?|other than|apart from)"
    r" (?:this|that|these|those|it)(?: ones?)?\b|除了?这个?颜色(?:以外|之外|都)*"
    r"|\b(?:another|different|other) colou?rs?\b|(?:别的|其他|其它|另外的|不同)颜色|换个?颜色"
)
_LEAVES = re.compile(
    r"\binstead\b|\bon second thoughts?\b|\bnever ?mind\b|\bscrap (?:it|that|those|the)\b"
    r"|\bforget (?:it|that|those|about)\b|\bskip (?:it|that|those|the)\b|\benough of\b"
    r"|算了|不(?:看|要|买|找|考虑)了|先不(?:看|买)"
)
_ALSO = re.compile(
    r"\b(?:also|as well|too|plus)\b|也(?:要|可以|行)|还(?:要|有)|以及"
    # Within a message "or" stands between what it names; at its beginning it adds to what was said before.
    r"|^(?:(?:ok(?:ay)?|hmm+|well|yes|yeah|no|and|maybe|嗯|哦|那)[ ,.!，。]*)*(?:or\b|或者?|要么)"
)
_OR = re.compile(r"\bor\b|或者?|还是")
_ELLIPSIS = re.compile(
    r"^(?:and|or|what about|how about|and what about|the same (?:in|for|but)|same (?:in|for|but)"
    r"|in|but|ok but|okay but)\b"
    r"|^(?:那|那么|换成|换|改成|要是|如果是)|呢[?？。!！]?$"
)


_REPLACES = re.compile(r"\b(?:rather|instead|prefer)\b|换成?|改成?|还是")
_HOW = re.compile(
    r"\b(?:can|could|may|how (?:do|can|to|should|many|long)) (?:i|we|you|days|until)?|怎么|如何|怎样"
    r"|(?:可以|能)[^，。]*吗"
)
_WORLD = re.compile(r"^(?:who|whose|why|when)\b|^(?:谁|为什么|为啥)")
_QUESTION = re.compile(
    r"[?？]|(?:^|[,;.!] )(?:how|what|when|where|which|who|why|can|could|may|do|does|is|are|will|would"
    r"|until when|am i|should)\b"
    r"|\b(?:can|may|could) i\b|\bdo you\b"
    r"|\bis there\b|\bwhat (?:if|now|about)\b"
    r"|[吗么呢不没]$|怎么|如何|怎样|多久|多少|几[天个点码年号]|什么时候|有什么|是什么|能不能|可不可以|是不是|有没有"
    r"|能[^，。]*吗|哪|([\u4e00-\u9fff])[不没]\1"
)
_IS = re.compile(r"\b(?:is|are|was|isn't|aren't) (?!there\b)|是")
_OWN = re.compile(r"\b(?:my|our) (?!budget|mind|size|taste|style|self)|我们?(?:家)?的")
_THINGS = re.compile(
    r"\b(?:do you (?:also |even )?(?:sell|have|stock)|have you got)"
    r" (?!something|anything|it\b|this|that|these|those|them|one|any (?:in|with)|any\b[^?]{0,30}\bones?\b)"
)
_POPULAR = re.compile(r"\b(?:popular|trending|best ?-?sell(?:er|ers|ing))\b|热门|爆款|热销|畅销|网红|流行")
_SHOWN = (
    r"(?:(?:it|this|that|these|those|they)(?: one| item| product)?"
    rf"|(?:the )?(?:{'|'.join(ORDINALS)})(?: (?:one|item|product|video))?|(?:number|item|#) ?\d+)"
)
_OF_SHOWN = re.compile(
    r"(?:^|[,.;!?] ?|\b(?:and|but|so|ok|okay) )(?:is|are|was|does|do|did|can|could|will|would|has|have|should"
    rf"|isn't|aren't|doesn't|don't|won't|can't) {_SHOWN}\b"
    rf"|\b(?:what|which|how|who|why)\b[^?,]{{0,40}}\b(?:is|are|was|does|do|did|can|will|has|have) {_SHOWN}\b"
    rf"|(?:[这那]一?[{COUNTERS}]|它|第(?:[一二两三四五六七八九十]|\d+)[{COUNTERS}]?)[^，。,]*"
    r"(?:[吗么]|没有|是不是|能不能|会不会|可不可以|有没有|什么|几|多[大长重高宽少]|怎|[\u4e00-\u9fff]不[\u4e00-\u9fff])"
)
_VARIANT = re.compile(
    r"\b(?:come|comes|available|have|had|got|sell|sold|get|exist|exists|offered|do|make|made|there)"
    r" (?:it |this |that |them )?(?:also )?in\b|\b(?:another|other|different)\b"
    r"|\b(?:version|variant|option)s?\b"
    r"|有(?:没有)?[^，。是]{0,8}(?:[色码号]|的)(?:[吗么呢]|没有|$|[?？])|的有(?:没有)?(?:[吗么呢]|$|[?？])"
    r"|别的|其他|其它|换"
)
"""Questions whether something is there in another color or size, which are wishes."""
_SHOPPING = re.compile(
    r"\b(?:show me|looking for|i(?:'m| am) after|search(?:ing)? for|find me|recommend|suggest"
    r"|do you (?:have|sell)|have you got|i (?:want|need|would like|'d like) (?:to buy )?(?:a|an"
    r"|some)\b|i'd like (?:a|an|some)\b)"
    r"|想买|想要|要买|推荐|找一?[个件条双顶款只]|有没有.*的|看看|给我找"
)


@dataclass(frozen=True, slots=True)
class Reference(Span):
    """Reference to something shown earlier."""

    place: int | None
    """Place in the last list, from 1; −1 for the last one; None for what the talk is about."""


def references(text: str) -> list[Reference]:
    """Return the references to places of the last list: "the second one", #3, 第二个."""
    found = []
    for match in _REFERENCE.finditer(text):
        if match["word"]:
            place = ORDINALS[match["word"]]
        elif match["final"] is not None:
            place = -1
        else:
            digits = match["nth"] or match["number"] or match["place"]
            place = int(digits) if digits.isdigit() else _HAN_PLACES[digits]
        found.append(Reference(match.start(), match.end(), place))
    return found


def pointers(text: str) -> list[Reference]:
    """Return the references to what the talk is about: "this one", "it", 这个."""
    return [Reference(match.start(), match.end(), None) for match in _POINTER.finditer(text)]


def sizes(text: str) -> list[tuple[str, Span]]:
    """Return the sizes in a text: `s` to `xxxl` or a number."""
    found = []
    for match in _SIZE.finditer(text):
        size = next(group for group in match.groups() if group)
        found.append((_SIZE_NAMES.get(size, size), Span(match.start(), match.end())))
    return found


@dataclass(frozen=True, slots=True)
class ClauseMark(Span):
    """Begin of a negation, or end of a clause."""

    kind: Literal["refuses", "refuses before", "frees", "ends"]
    """Whether it refuses what follows or stands before, takes back what follows, or ends a clause."""


_MARK_KINDS: Mapping[str, Literal["refuses", "refuses before", "frees", "ends"]] = {
    "after": "refuses before", "free": "frees", "no": "refuses", "end": "ends",
}  # fmt: skip


def clause_marks(text: str) -> Iterator[ClauseMark]:
    """Iterate over the marks of a text, from the left."""
    for match in _MARK.finditer(text):
        yield ClauseMark(match.start(), match.end(), _MARK_KINDS[match.lastgroup or "end"])


def says_any(text: str) -> list[tuple[Facet | Literal["price"], Span]]:
    """Return the facets of which a text says that they do not matter, and where."""
    found: list[tuple[Facet | Literal["price"], Span]] = [
        (facet, Span(match.start(), match.end()))
        for facet, pattern in _ANY_OF.items()
        for match in pattern.finditer(text)
    ]
    found.extend(("price", Span(match.start(), match.end())) for match in _ANY_PRICE.finditer(text))
    return found


def corrections(text: str) -> list[Span]:
    """Return where a text says that it corrects what was said before: "no, I meant", 说错了."""
    return [Span(found.start(), found.end()) for found in _CORRECTION.finditer(text)]


def replaces(text: str) -> bool:
    """Return whether a text puts one wish in another's place: "rather silk", 换成."""
    return _REPLACES.search(text) is not None or _CORRECTION.search(text) is not None


def asks_how(text: str) -> bool:
    """Return whether a text asks what may be done, or how, rather than how things stand."""
    return _HOW.search(text) is not None


def asks_of_shown(text: str) -> bool:
    """Return whether a text asks something of what was shown: "is it waterproof?", 这个防水吗."""
    return _OF_SHOWN.search(text) is not None and _VARIANT.search(text) is None


def asks_what_it_is(text: str) -> bool:
    """Return whether a text asks if something is so, not if it is to be had so: 是红色的吗."""
    return _IS.search(text) is not None


def speaks_of_own(text: str) -> bool:
    """Return whether a text speaks of something that the shopper has."""
    return _OWN.search(text) is not None


def asks_of_the_world(text: str) -> bool:
    """Return whether a text asks who, why or when, which no product answers."""
    return _WORLD.search(text) is not None


def leaves_subject(text: str) -> bool:
    """Return whether a text turns from what was asked for: "on second thought", "skip the shirts", 算了."""
    return _LEAVES.search(text) is not None


def says_other_color(text: str) -> Span | None:
    """Return where a text asks for another color than shown."""
    return _span(_OTHER_COLOR.search(text))


def says_also(text: str) -> bool:
    """Return whether a text adds to what was asked for."""
    return _ALSO.search(text) is not None


def says_or(text: str) -> bool:
    """Return whether a text names alternatives."""
    return _OR.search(text) is not None


def is_question(text: str) -> bool:
    """Return whether a text asks something."""
    return _QUESTION.search(text) is not None


def asks_for_products(text: str) -> bool:
    """Return whether a text asks to be shown things to buy."""
    return _SHOPPING.search(text) is not None


def asks_for_things(text: str) -> bool:
    """Return whether a text asks if the shop has some thing, and not some of what it speaks of."""
    return _THINGS.search(text) is not None


def asks_for_popular(text: str) -> bool:
    """Return whether a text asks for what others like or buy."""
    return _POPULAR.search(text) is not None


def is_elliptic(text: str) -> bool:
    """Return whether a text goes on with the last wish, as "what about hats?" does."""
    return _ELLIPSIS.search(text) is not None


def _span(match: re.Match[str] | None) -> Span | None:
    return None if match is None else Span(match.start(), match.end())
