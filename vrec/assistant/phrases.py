"""Phrases of conversation in both languages: references to cards, corrections, questions, sizes."""

import re
from dataclasses import dataclass

from vrec.assistant.commands import COUNTERS, Span

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
    rf"|最后(?:一|那)?[{COUNTERS}](?P<final>)|(?<![\d.])(?P<label>[1-9]|10)号(?!码|的?尺码)"
)
_POINTER = re.compile(rf"\b(?:this|that)(?: one| item| product)?\b|(?<!make )\bit\b|[这那]一?[{COUNTERS}]|它")
_SIZE = re.compile(
    r"\bsize (?P<a>xxs|xs|s|m|l|xl|xxl|xxxl|small|medium|large|\d{2,3}(?:\.5)?)\b"
    r"|\b(?P<b>xxs|xs|xl|xxl|xxxl)\b(?:\s*[码号])?"
    r"|\b(?:in|wears?|takes?|need|am|i'm|is|fits?) (?:an? |the )?(?P<c>small|medium|large)\b(?! \w)"
    r"|\bsize[: ]+(?P<f>xxs|xs|s|m|l|xl|xxl|\d{2,3})\b"
    r"|(?P<d>\d{2,3}(?:\.5)?|xs|s|m|l|加大|特大|大|中|小)\s*[码号](?!\d)"
    r"|(?<![^\s,，、/|])(?<!\d )(?P<e>[sml])(?![^\s,.!?，。！？、/|])(?! ?[&+])"
)
_SIZE_NAME = re.compile(r"xxs|xs|s|m|l|xl|xxl|xxxl|(?:1[6-9]|[2-5]\d)(?:\.5)?")
_SIZE_NAMES = {
    "small": "s", "medium": "m", "large": "l", "小": "s", "中": "m", "大": "l", "加大": "xl", "特大": "xxl",
}  # fmt: skip

_CORRECTION = re.compile(
    r"(?:\b(?:no|nope|oh|oops|wait|hmm+|sorry|ah)\b[,.! ]*)*\bi (?:actually )?(?:mean|meant"
    r"|was (?:looking for|thinking of))"
    r"(?: to say)?\b|\b(?:actually|on second thoughts?|oops|sorry|my (?:bad|mistake)"
    r"|i(?:'ve| have)? changed my mind)\b|\b(?:wait,? )?no[,.!] (?=.)|^no (?=sorry)"
    r"|\b(?:typo|my bad|scratch that|correction|on reflection|i misspoke|wrong (?:one|thing|word))\b"
    r"|\bno,? wait\b|[哦啊噢呃][,， ]?不(?:是(?!我?[的吗])|(?![要行好用是想会能]))[,， ]?|算了(?=还是)"
    r"|不对(?:[，,。 ]|$)|(?:我|刚才|刚刚|之前)*(?:打|写|说|弄|搞|看|选)错(?:字)?了?[，,。]?|错了"
    r"|我(?:说|指|想要|要)的(?:其实)?是"
    r"|我的意思是|我是说|应该是|还是(?=要|换)|口误|手误|笔误|等等|等一下|说反了"
)

_OTHER_COLOR = re.compile(
    r"\b(?:any|every|all|another|some)(?: other)? colou?rs? (?:but|except(?: for)?|other than|apart from)"
    r" (?:this|that|these|those|it)(?: ones?)?\b|除了?这个?颜色(?:以外|之外|都)*"
    r"|\b(?:another|different|other) colou?rs?\b(?! (?:(?:is|are|would be) (?:fine|ok)|too|also|as well))"
    r"|(?:别的|其他|其它|另外的|不同的?)颜色(?!我?(?:都|也))|换(?:个|一个|种)?颜色"
)
_LEAVES = re.compile(
    r"\binstead\b|\bon second thoughts?\b|\bnever ?mind\b|\bscrap (?:it|that|those|the)\b"
    r"|\bforget (?:it|that|those|about)\b|\bskip (?:it|that|those|the)\b|\benough (?:of|\w+[,.])"
    r"|\b(?:done with|moving on|no more|different (?:topic|subject))\b|\b(?:is|are) done\b"
    r"|算了|不(?:看|要|买|找|考虑)了|(?:先|暂时)(?:不看|不买|放)|换个(?:话题|东西|种类|品类)|说点别的"
)
_ALSO = re.compile(
    r"\b(?:also|as well|plus)\b|\btoo\b(?= ?(?:[,.!?]|$|please))|也(?:要|可以|行|想|看|来|加|一起|好"
    r"|算|凑合|没问题)|还(?:要|有)"
    r"|以及|加上|再加|外加|连同|一起(?:看|吧|$)"
    # Within a message "or" stands between what it names; at its beginning it adds to what was said before.
    r"|^(?:(?:ok(?:ay)?|hmm+|well|yes|yeah|no|and|maybe|嗯|哦|那)[ ,.!，。]*)*(?:or\b|或者?|要么)"
)
_COMPANION = re.compile(
    r"\b(?:to |would |will |should |must )?(?:match(?:es|ing)?|go(?:es)? (?:well |nicely )?with"
    r"|suits?|fits? (?:in )?with|next to"
    r"|similar in style to) (?:my|our|the|her|his|their) (?!budget|size|taste|age|needs|style)"
    r"(?:(?! (?:if|when|but|so|and|in|under|for|or)\b)[^,.;!?，。])+"
    r"|(?:用来)?(?:搭配?|配|衬)(?:我|她|他|家里)(?:的|家|那|这)*[^，。,.!?！？]+"
)
_OR = re.compile(
    r"\bor\b|\beither\b|\bwhichever\b|\bboth\b|(?<=[a-z\u4e00-\u9fff])/(?=[a-z\u4e00-\u9fff])|或者?"
    r"|还是|要么|不是[^，。,]{1,6}就是"
    r"|都(?:行|可以|成|好(?!看)|ok|要|喜欢|凑合)"
)
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
    r"|[吗么呢不没]$|怎么|如何|怎样|多久|多少|几[天个点码年号]|什么时候|有什么|是什么|能不能|可不可以"
    r"|是不是|有没有"
    r"|能[^，。]*吗|哪|([\u4e00-\u9fff])[不没]\1"
)
_IS = re.compile(r"\b(?:is|are|was|isn't|aren't) (?!there\b)|是")
_OWN = re.compile(r"\b(?:my|our) (?!budget|mind|size|taste|style|self)|我们?(?:家)?的")
_THINGS = re.compile(
    r"\b(?:do you (?:also |even |happen to )*(?:sell|have|stock|carry)|have you got|(?:you )?got any"
    r"|(?:can|could|may) (?:i|we|one|you) (?:also )?(?:get|buy|find|order|purchase))"
    r" (?!something|anything|it\b|this|that|these|those|them|one|any (?:in|with)|any\b[^?]{0,30}\bones?\b)"
)
_WHAT_ABOUT = re.compile(
    # One word or phrase at a time: a repeat inside a repeat takes exponential time on "any any any".
    r"^(?:and|what about|how about|any|got any) (?:(?:and|what about|how about|any|got any|an?|some) )*"
    r"(?!\w+(?:er|est|ish|y|al|ful|less|ive|ed|ing)\b)[a-z]{3,}(?: [a-z]{3,})?\s*\??$"
    r"|^(?:那|有没有|你们?卖|能买到|有卖)+(?![^，。?？]*(?:的|点|些))[^，。?？\d]{2,6}?(?:呢|吗|么"
    r"|没有?|卖吗)?[?？]?$"
    r"|^有(?![^，。?？]*(?:的|点|些))[^，。?？\d]{2,5}(?:卖)?(?:吗|么|没有?)[?？]?$"
)
_ANOTHER = re.compile(
    r"\balso (?:need|want|looking for|after|searching|like)\b|\b(?:need|want|looking for"
    r"|after)\b[^.!?]*\b(?:too|as well)\b"
    r"|还(?:想|要|需要|得)(?:要|买|个|找|一)"
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
    r"(?:[吗么]|没有|是不是|能不能|会不会|可不可以|有没有|什么|几|多[大长重高宽少]|怎"
    r"|[\u4e00-\u9fff]不[\u4e00-\u9fff])"
)
_VARIANT = re.compile(
    r"\b(?:come|comes|available|have|had|got|sell|sold|get|exist|exists|offered|do|make|made|there)"
    r" (?:it |this |that |them )?(?:also )?in\b|\b(?:another|other|different)\b"
    r"|\b(?:version|variant|option)s?\b|\b(?:can|could|would|might|should|shall|may|must) (?:it|this"
    r"|that|they|these|those)(?: \w+)? be\b"
    r"|\b(?:be|is it possible) (?:something|anything|to (?:have|get))\b|\bpossible (?:to|in)\b"
    r"|\b(?:too|so|very|all|pretty) (?:expensive|pricey|dark|bright|big|small)\b"
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
            digits = match["nth"] or match["number"] or match["label"] or match["place"]
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


def is_size(name: str) -> bool:
    """Return whether a name, such as that of a tag, is a size: M, 39, 37.5."""
    return _SIZE_NAME.fullmatch(name.casefold()) is not None


def corrections(text: str) -> list[Span]:
    """Return where a text says that it corrects what was said before: "no, I meant", 说错了."""
    return [Span(found.start(), found.end()) for found in _CORRECTION.finditer(text)]


def companions(text: str) -> list[Span]:
    """Return where a text names what else is there: "to match my white sofa", 配我的黑裙子."""
    return [Span(found.start(), found.end()) for found in _COMPANION.finditer(text)]


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
    return _THINGS.search(text) is not None or _WHAT_ABOUT.search(text) is not None


def needs_another(text: str) -> bool:
    """Return whether a text asks for one more thing: "I also need a lamp", 我还想买."""
    return _ANOTHER.search(text) is not None


def asks_for_popular(text: str) -> bool:
    """Return whether a text asks for what others like or buy."""
    return _POPULAR.search(text) is not None


def is_elliptic(text: str) -> bool:
    """Return whether a text goes on with the last wish, as "what about hats?" does."""
    return _ELLIPSIS.search(text) is not None


def _span(match: re.Match[str] | None) -> Span | None:
    return None if match is None else Span(match.start(), match.end())
