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
        r"\b(?:(?:let's |can we )?(?:start|begin) (?:all )?(?:(?:again|over|afresh|anew"
        r"|fresh)\b(?: from (?:scratch|zero|0))?"
        r"|from (?:scratch|zero|0|the (?:beginning|start|top)))"
        r"|forget (?:about )?(?:it|that|everything|all(?: of)? that)|(?:scrap|scratch) (?:it|that|all that)"
        r"|reset|new search|clean slate|clear (?:everything|all(?: (?:the )?filters)?|(?:the "
        r"|my )?(?:search|filters))"
        r"|(?:drop|remove|undo|delete) (?:everything|all filters))\b"
        r"|重新(?:开始|来|找|搜|选)|从(?:头|零)(?:开始|再?来)|重来|清空|忘掉(?:刚才|之前)?的?|推倒重来"
        r"|(?:刚才|之前|前面|上面)(?:说)?的(?:条件|要求)?(?:都|全|全部)?(?:不算|作废|忘|取消|不要了"
        r"|不作数)(?:了|掉)?",
    ),
    (
        "person",
        r"\b(?:(?:talk|speak|chat|connect me|put me through|pass me on|transfer me)(?:ing)? (?:to"
        r"|with) (?:a |an |any |your |the |(?:one|1) of (?:your|the) )?"
        r"(?:real |live |actual |human )?(?:human|person|people|agent|someone|somebody|representative"
        r"|rep|colleagues?|staff|employee|advisor|operator"
        r"|manager|customer (?:service|support|care)|support|service)|human(?: agent"
        r"| support)?\b|(?:real|actual|living) (?:person|human)|customer (?:service|support|care)|live agent"
        r"|(?:get|give|find|call) me (?:a |an |the |your )?(?:human|person|agent|someone|operator"
        r"|manager|representative))"
        r"|人工(?:客服|服务)?|(?:转|找|叫|换|接|联系)(?:个|一下|一个|下)?(?:人工|客服|真人|活人"
        r"|工作人员|店员)|真人|活人|工作人员"
        r"|(?:和|跟|同)(?:你们的?)?(?:客服|店员|人)(?:聊|说|谈|讲)",
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
        r"|my (?:order|package|parcel|delivery) (?:has ?n[o']t|hasn['’]?t|still hasn['’]?t"
        r"|did ?n[o']t|is late|has not|is ?n[o']t)"
        r"|when (?:will|does|is) my (?:order|package|parcel|delivery)"
        r"|(?:has|have|did) my (?:refund|money|replacement|exchange|return)\b.{0,20}\b(?:arrived?|come|been"
        r"|gone|go|get|got|issued|processed|landed)|where(?:'s| is) my (?:refund|money|replacement|exchange)"
        r"|(?:status|news) (?:of|on|about) my (?:refund|return|replacement|exchange)"
        r"|(?:did|have) you (?:send|sent|issued?|processe?d?|received?|got) my (?:refund|return|replacement"
        r"|money))\b"
        r"|我的?(?:那笔|那个)?(?:退款|退货|换货|钱)(?:申请)?.{0,6}(?:到账?了|收到|处理|进度|办好|成功|没到)"
        r"|(?:退款|退货|换货)(?:的)?进度|(?:退款|退的钱)到账?了[吗么没]"
        r"|(?:我要|我想|帮我|请|麻烦)(?:取消|退掉|修改|更改|查询)(?:一下)?(?:这个|那个|上个)?订单"
        r"|订单[a-z]{0,3}-?\d{3,}|我(?:买|订)的.*(?:发货|到哪|送到)"
        r"|我的?(?:订单|快递|包裹|物流)|订单(?:号|状态|到哪|(?:我)?(?:想|要)?(?:取消|退|改))|(?:快递"
        r"|包裹|物流)(?:到哪|什么时候|信息|怎么还(?:没|不)|还没(?:到|收)|没到)"
        r"|我(?:买|订|下单)的(?:东西|货|那个)?.{0,6}(?:什么时候|几时|啥时候|多久|怎么还没|到了没|还没到)"
        r"|查(?:一下)?(?:订单|快递|物流)|催(?:一下)?(?:发货|快递|单)",
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
        r"\b(?:add|put|throw|stick|pop)\b(?=.*\b(?:cart|basket|bag|trolley)\b)|(?:into|in) the (?:bag"
        r"|basket|cart) it goes|\badd (?=(?:it|this|that|the|number|#|both"
        r"|them)\b)|\b(?:to|in|into) (?:my |the )?(?:cart|basket)\b|\b(?:i(?:'ll| will|'d like to|'d"
        r"| would like to) (?:take|have|buy|get|order)|i want to (?:buy|order|have|get)|let me have"
        r"|order|buy|purchase)(?= (?:it|this|that|the (?:\w+(?: (?:one|1))?(?: please)?[,.!]?$"
        r"|\w+ (?:one|1)\b)|number|#))"
        r"|\b(?:the )?\w+(?: (?:one|1))? it is(?= ?[,.!]|$)"
        r"|(?:加|放|丢|扔|装|塞)(?:入|到|进)?(?:我的)?(?:购物车|购物篮| ?cart| ?basket)|加购|下单"
        r"|(?:就)?(?:要|买|拿)(?=第|这|那|它|最后)"
        r"|(?<=[个款件条双只号])(?:我)?(?:要了|买了|拿下|来一?[个件份])|就(?:它|这个|那个)(?:了|吧)",
    ),
    (
        "detail",
        r"\b(?:how much (?:is|are|(?:does|do)(?= .{1,80}\b(?:cost|go for|sell for)\b))"
        r"|what(?:'s| is) the price|what (?:does|do) (?:it|this|that|the \w+"
        r"(?: one)?) cost(?! (?:me |us )?to\b)|(?:price|cost) of (?=the|this|that|number|#)"
        r"|(?:set|sets) (?:me|us) back|how (?:pricey|expensive|dear|cheap) (?:is|are)"
        r"|how much (?:would|will|'s|for)"
        r"|do you (?:still )?have (?=the (?:\w+ (?:one|1)|\w+)(?: left)?\??$)"
        r"|is (?:it|this|that"
        r"|the \w+(?: one)?) (?:still )?(?:in stock|available)|tell me (?:more )?about"
        r"|more (?:details|info|information) (?:on|about)|(?:details|info) (?:of|on|about)"
        r"|in stock)\b"
        r"|多少钱|什么价格?|什么价位|啥价|几块钱?|怎么卖|(?<=[个款件条双只号])多少(?=$|[?？呀啊呢])"
        r"|贵吗|贵不贵|(?:还|现)?有货没|价格(?:是)?多少|有(?:没有)?货|有库存|详细(?:信息|介绍)?"
        r"|介绍(?:一下|下)",
    ),
    (
        "similar",
        r"\b(?:similar(?: to| ones?)?|(?:something |more |ones? |anything |others? )?(?:just )?like"
        r"|same (?:style|kind)(?: as)?|in the style of)(?= (?:it|this|that|these|those|them|the|number|#)|$"
        r"|[?.!,])"
        r"|类似的?|相似的?|(?:像|跟|和)(?=第|这|那|它)|差不多的|一样的|同款|那样的",
    ),
    (
        "more",
        r"\b(?:(?:show(?: me)? |any |see |some |a few |give me |few )*(?:more|others?|other ones"
        r"|other (?:options|choices|ideas|models|results)"
        r"|alternatives)(?: options| choices| results| of (?:them|these|those"
        r"|the same))?(?=,? (?:please|pls)|$|[?.!,])"
        r"|(?:show(?: me)?|see|give me) (?:some |a few |a couple )?(?:more|others)\b|anything else"
        r"|what else|something else|different ones|what other (?:ones|options|choices)"
        r"|none of (?:these|those|them)|(?:don['’]?t|do not|didn['’]?t) (?:really )?(?:like|want"
        r"|love) any(?: of (?:these|those|them))?\b"
        r"|(?:see|show(?: me)?) the (?:rest|others|remaining)|the rest|keep going|go on|is (?:that"
        r"|this) (?:all|it|everything)"
        r"|next(?: page| ones| few| batch| please)?(?=$|[?.!]))"
        r"|还有(?: ?more|吗|么|没|别的|其他的?|没有)|(?:再|多)(?:多)?(?:来|看|推荐|给我看|给我来|发)(?:一些"
        r"|一点|几[个件条双款只]|点|看|看看)+(?:别的|其他的?)?(?=$|[?.!,。，！？吧看瞧呗])"
        r"|再来(?:一批|一组)|换一?[批换组]|换几[个件条双款只]|换一?些(?:别的|其他的?)?(?=$|[吧看，。])"
        r"|(?<!没)有(?:没有)?(?:别的|其[他它]的?)(?=了?[吗么没]?[?？]?$)"
        r"|来(?:点|些)(?:别的|其[他它]的?)(?=$|[吧呗，。!！])|下一(?:页|批|组)|更多|(?:其他|别的"
        r"|其它)款|^(?:那)?(?:其他|其它|别的|剩下)的?(?:呢|有吗|看看)?$"
        r"|^(?:继续|下一个)|就(?:这些|这几个|这么多)[吗么]?|(?:show|看|来) ?多几[个件条双款只]"
        r"|多给我?看几[个件条双款只]|都不(?:行|喜欢|好|合适|满意)|没(?:有)?(?:看中|喜欢|满意)的",
    ),
    ("thanks",
        r"\b(?:thanks|thank you|thank u|thx|ty|tysm|cheers|great|awesome|perfect|wonderful|bye"
        r"|goodbye|see you|good ?night"
        r"|(?:you(?:'ve| have) been |(?:that's |that was |that is )?(?:very |so |really )*)helpful"
        r"|(?:that|this)(?:'s| is| will be| would be) (?:all|it|everything)"
        r"(?: (?:for (?:now|today)|thanks|i (?:need|needed|wanted)))*(?=$|[.!,])|all (?:good|set"
        r"|done)|no(?:thing)?,? (?:that's all|more questions)"
        r"|nothing else)\b"
        r"|谢谢|多谢|感谢|谢[啦了您你过]|3q|再见|拜拜|拜$|辛苦(?:了|啦)|(?:先|就)这样(?:吧|了)?"
        r"|(?<!有)没(?:有)?别的(?:事|问题)?了|没事了|不用了|明白了|知道了|帮大忙|好的好的|太棒了",
    ),
    ("greeting",
        r"^(?:hi|hello|hey|hiya|howdy|good (?:morning|afternoon|evening|day))\b|^(?:你好|您好|嗨|哈喽"
        r"|在吗|在不在|在么|有人吗|早上好|下午好|晚上好|哈啰|喂)"),
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
