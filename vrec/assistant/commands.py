"""Commands of a conversation, English and Chinese: start again, add to the cart, talk to a person."""

import re
from dataclasses import dataclass
from typing import Literal

COUNTERS = "个款件条双只种张顶支盏本把套台样"
"""Chinese measure words for things."""
Command = Literal[
    "reset", "person", "order", "moment", "cart", "detail", "similar", "more", "thanks", "greeting"
]

_COMMANDS: tuple[tuple[Command, str], ...] = (
    (
        "reset",
        r"\b(?:(?:let's |can we )?start (?:again|over|afresh|anew|fresh|from scratch|from the beginning)"
        r"|forget (?:about )?(?:it|that|everything|all(?: of)? that)|(?:scrap|scratch) (?:it|that|all that)"
        r"|reset|new search|clear (?:everything|all))\b"
        r"|重新(?:开始|来|找|搜|选)|从头(?:开始|再?来)|重来|清空|忘掉(?:刚才|之前)?的?",
    ),
    (
        "person",
        r"\b(?:(?:talk|speak|chat|connect me) (?:to|with) (?:a |an |your |the )?(?:real "
        r"|live )?(?:human|person|agent|someone|representative|colleague|staff)|human(?: agent"
        r"| support)?\b|real person|customer service|live agent)"
        r"|人工(?:客服|服务)?|(?:转|找|叫)(?:个)?(?:人工|客服|真人)|真人",
    ),
    (
        "order",
        r"\b(?:where(?:'s| is| are) my (?:order|package|parcel|delivery)|(?:track|cancel|change"
        r"|check) my (?:order|package|parcel)|my order|order (?:status|number)|status of my order"
        r"|has my (?:order|package|parcel)|cancel (?:the|this|that|the last|the whole) order"
        r"|has (?:it|everything) (?:already )?(?:been )?(?:shipped|dispatched|sent)"
        r"|(?:did|have) you (?:ship(?:ped)?|sent?|dispatch(?:ed)?) (?:it|my \w+)"
        r"|where(?:'s| is) (?:the )?order|order (?:no\.? ?|#)?(?:[a-z]{0,3}-?\d{3,}|[a-z]{1,3}-\d+)"
        r"|what (?:did|have) i order(?:ed)?"
        r"|(?:has|have|did) my (?:refund|money|replacement|exchange|return)\b.{0,20}\b(?:arrived?|come|been"
        r"|gone|go|get|got|issued|processed|landed)|where(?:'s| is) my (?:refund|money|replacement|exchange)"
        r"|(?:status|news) (?:of|on|about) my (?:refund|return|replacement|exchange)"
        r"|(?:did|have) you (?:send|sent|issued?|processe?d?|received?|got) my (?:refund|return|replacement"
        r"|money))\b"
        r"|我的?(?:那笔|那个)?(?:退款|退货|换货|钱)(?:申请)?.{0,6}(?:到账?了|收到|处理|进度|办好|成功|没到)"
        r"|(?:退款|退货|换货)(?:的)?进度|(?:退款|退的钱)到账?了[吗么没]"
        r"|(?:我要|我想|帮我|请|麻烦)(?:取消|退掉|修改|更改|查询)(?:一下)?(?:这个|那个|上个)?订单"
        r"|订单[a-z]{0,3}-?\d{3,}|我(?:买|订)的.*(?:发货|到哪|送到)"
        r"|我的?(?:订单|快递|包裹|物流)|订单(?:号|状态|到哪)|(?:快递|包裹|物流)(?:到哪|什么时候|信息)"
        r"|查(?:一下)?(?:订单|快递|物流)",
    ),
    (
        "moment",
        r"\bwhere (?:in the video )?(?:does|do|did) (?:she|he|they|it|the (?:\w+ )?\w+) (?:show|demonstrate"
        r"|say|talk|mention|open|wear)\w*\b|\bwhen (?:in the video )?(?:does|do|did) (?:she|he|they|it"
        r"|the (?:\w+ )?\w+) (?:show|demonstrate|say|talk|mention)\b"
        r"|\b(?:at )?(?:which|what) (?:moment|minute|second|part)\b"
        r"|\bjump to\b"
        r"|(?:在)?哪(?:里|儿|一段|一秒|个片段)(?:展示|演示|说|讲|提到|出现)|(?:跳到|看)(?:那)?(?:一段"
        r"|片段)|第几(?:秒|分钟)",
    ),
    (
        "cart",
        r"\b(?:add|put)\b(?=.*\b(?:cart|basket|bag)\b)|\badd (?=(?:it|this|that|the|number|#|both"
        r"|them)\b)|\b(?:to|in|into) (?:my |the )?(?:cart|basket)\b|\b(?:i(?:'ll| will) take|i(?:'ll"
        r"| will) buy|i want to buy|order|buy)(?= (?:it|this|that|the|number|#))"
        r"|加(?:入|到|进)?(?:我的)?购物车|加购|下单|(?:就)?(?:要|买|拿)(?=第|这|那|它)",
    ),
    (
        "detail",
        r"\b(?:how much (?:is|are|(?:does|do)(?= .{1,80}\b(?:cost|go for|sell for)\b))"
        r"|what(?:'s| is) the price|what (?:does|do) (?:it|this|that|the \w+"
        r"(?: one)?) cost(?! (?:me |us )?to\b)|(?:price|cost) of (?=the|this|that|number|#)"
        r"|is (?:it|this|that"
        r"|the \w+(?: one)?) (?:still )?(?:in stock|available)|tell me (?:more )?about"
        r"|more (?:details|info|information) (?:on|about)|(?:details|info) (?:of|on|about)"
        r"|in stock)\b"
        r"|多少钱|什么价格?|啥价|怎么卖|价格(?:是)?多少|有(?:没有)?货|有库存|详细(?:信息|介绍)?|介绍一下",
    ),
    (
        "similar",
        r"\b(?:similar(?: to| ones?)?|(?:something |more |ones? |anything )?(?:just )?like"
        r"|same (?:style|kind)(?: as)?|in the style of)(?= (?:it|this|that|these|the|number|#)|$"
        r"|[?.!,])"
        r"|类似的?|相似的?|(?:像|跟|和)(?=第|这|那|它)|差不多的|一样的|同款",
    ),
    (
        "more",
        r"\b(?:(?:show me |any |see |some )?(?:more|others|other ones|other options)(?: options"
        r"| results| of (?:them|these|those))?(?= please|$|[?.!,])|anything else|what else"
        r"|next(?: page| ones)?(?=$|[?.!,])|something else|different ones)"
        r"|还有(?:吗|别的|其他的?|没有)|再(?:来|看|推荐)(?:一些|几[个件条双款只]|点|看|看看)?(?:别的"
        r"|其他的?)?(?=$|[?.!,。，！？吧])"
        r"|换一批|换几[个件条双款只]|下一页|更多|其他款",
    ),
    ("thanks", r"\b(?:thanks|thank you|thx|cheers|great|perfect|bye|goodbye)\b|谢谢|多谢|感谢|再见|拜拜"),
    ("greeting", r"^(?:hi|hello|hey|good (?:morning|afternoon|evening))\b|^(?:你好|您好|嗨|哈喽|在吗)"),
)  # fmt: skip
_COMMAND_PATTERNS: list[tuple[Command, re.Pattern[str]]] = [
    (kind, re.compile(pattern)) for kind, pattern in _COMMANDS
]


@dataclass(frozen=True, slots=True)
class Span:
    """Stretch of a text."""

    start: int
    end: int


def commands(text: str) -> list[tuple[Command, Span]]:
    """Return the commands in a text in its normal form, the most important first."""
    return [
        (kind, Span(found.start(), found.end()))
        for kind, pattern in _COMMAND_PATTERNS
        for found in pattern.finditer(text)
    ]
