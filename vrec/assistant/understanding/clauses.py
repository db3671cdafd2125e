"""Clauses of a message: which of its words are wanted, refused, permitted or given up."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vrec.assistant.commands import Span
from vrec.assistant.text import Unit

Attitude = Literal["wants", "refuses", "permits", "frees", "removes"]
"""Attitude to a word. `permits`: it may be, beside what else is wanted or in spite of what is refused.
`frees`: it need not be any more. `removes`: it is taken out of what is wanted, or refused if it is not in
it."""

_N_T = r"n['’]?t"
_VERBS = r"want|like|need|have|wear|stand|show(?: me)?|care for|fancy|do|go for|be|include|use"
_NEGATION = (
    r"\b(?:not|no|nothing|none|neither|without|except(?: for)?|apart from|aside from|other than"
    r"|other \w+ than|rather than|instead of"
    r"|(?:any|every|all)(?:thing)?(?: other)?(?: \w+)? (?:but|except(?: for)?|other than|apart from|besides)"
    r"|excluding|minus|nor|never|steer clear of|(?:keep|stay) away from|anything bar"
    r"|(?<!with )plenty of|too many|(?:(?:i|we|he|she|they)(?:['’]ve| have| has)?(?: already)?"
    r" (?:own|got enough|have enough|enough of))"
    rf"|(?:do{_N_T}|do not|does{_N_T}|did{_N_T}|wo{_N_T}|would{_N_T}|ca{_N_T}|cannot|could{_N_T}"
    rf"|must{_N_T}|should{_N_T})"
    rf" (?:really |particularly |ever )?(?:{_VERBS})"
    rf"|(?:i )?(?:really )?(?:hate|dislike|detest|loathe)s?|avoid|(?:is|are|was|were|ai|should"
    rf"|must)n['’]?t(?! there)(?: be)?)\b"
    r"|不(?:太|怎么|是很|大|能)?(?:要|想要|需要|想|是(?![^，。,]{1,8}就是)|喜欢|含|带|爱|看|买|找"
    r"|考虑|感冒)(?!不)"
    r"|(?<!有)没有|别(?!的|人|致|家)|除了(?![^，。,]{1,10}(?:还|也)(?:想|要|看|有|买))|除开"
    r"|除(?=[^，。,了开外非]{1,12}(?:以外|之外))|讨厌|避开|绕开|非(?!常|得|要)|受不了|拒绝"
)
_CLAUSE_END = (
    r"\b(?:but|just|only|instead|rather|i want|i need|i'd like|show me|give me|make it|make them"
    r"|please|to (?=\w+$)|any other|(?<!not )so|although|though|because|since|while)\b"
    r"|[.;!?,:。；！？，：](?!\d)|但是?|不过|而是|只要|只看|换|想要|要|以外|之外|都|就"
)
_REFUSED_BEFORE = (
    rf"\b(?:is{_N_T}|are{_N_T}|is not|are not|ai{_N_T})"
    r" (?:(?:really |quite |exactly |so )?(?:my (?:thing|style|taste|color|colour|favou?rite|cup of tea)|me\b"
    r"|for me|what i(?:'m| am)? (?:want|need|like|looking for|after))"
    r"|(?:really |that |very |so |quite )?\w+ (?:to me|enough|at all))"
    rf"|(?:does{_N_T}|do{_N_T}|does not|do not) (?:suit|appeal|work for|do it for)\b(?: (?:to )?me)?"
    r"|\b(?:is|are) (?:all )?(?:done|out|off the table)(?=$|[,.;!?])"
    rf"|\b(?:wo{_N_T}|will not|ca{_N_T}) (?:work|do|go)\b"
    r"|(?:\b(?:is|are)|['’]s) (?:a )?(?:no good|no[- ]go|no-no|no)(?=$|[,.;!?])"
    r"|除外|就?不(?:考虑|看|要)了?(?=$|[,.!。，！])|就?免了|免谈|就算了|算了(?=$|[,.!。，！吧]|只要)"
    r"|(?<=[的色])(?:就|都|也|可)?不行(?![吗么不])"
    r"|就?别(?:给我|再)?看了|没(?:什么)?兴趣|不感兴趣|(?:家里|已经)?(?:一大?堆|够多|太多)了"
    r"|(?:\b|(?<=[的色]))(?:pass|no thanks|no thank you)(?=$|[,.!。，！])"
    r"|我?(?:已经|都)?有了(?=$|[,.!。，！])|腻了"
    r"|(?:先|暂时)(?:放|不看|不买)[^，。,]*"
    r"|\b(?:is|are|looks?|feels?) (?:a (?:bit|little) |way |far |just |much )?too \w+|太[^\W\d_a-z]{1,3}了"
)
"""Negations behind what they refuse."""
_REMOVED = (
    r"\b(?:take out|leave out|filter out|cut out|throw out|get rid of|do away with|remove|drop|hide"
    r"|exclude|ditch"
    r"|lose|scrap|scratch|skip|(?:(?<=^)|(?<=[,.!] ))enough|done with)\b(?: (?:the|all|any|anything"
    r"|everything|that|those|of)\b)*"
    r"|(?<!把)(?:去掉|取消|排除|剔除|删掉|去除)(?=[^了吧，。,!！])"
)
_REMOVED_BEFORE = (
    r"(?:都|全|给我|全部)?(?:去掉|取消|排除|剔除|删掉|删了|拿掉|去除|筛掉|过滤掉?)(?=了|吧|$|[，。,!！])"
)
_FREED = (
    r"\b(?:never ?mind|forget(?: about)?|(?:change|swap|switch)(?: from)?(?= \w+ (?:to|for) )"
    r"|(?:did )?i (?:said|say|wrote|typed|asked for)|i (?:can|could) (?:do|live) without"
    rf"|(?:does{_N_T}|does not|do{_N_T}|do not|need{_N_T}) (?:need to|have to|need|has to) (?:be )?"
    rf"|not necessarily|no need for|need{_N_T} be)\b"
    r"|除了(?=[^，。,]{1,10}(?:还|也)(?:想|要|看|有|买))|不一定(?:非?要|非?得|是)?|不(?:用|必"
    r"|须)(?:非?得?是|非?要|非得|非)?|不非要|别管|不强求|不要求是?|(?:说|写|打)成(?!都)|不是(?=[^，。,]{1,8}也(?:行|可以|好|成|没事|没关系|无所谓|ok))"
)
"""Phrases that take a wish back without refusing it."""
_FREED_BEFORE = (
    r"(?:换成|改成|换为|改为)"
    rf"|(?:\b(?:is|are)(?:{_N_T}| not)|['’]s not"
    r"|(?:\b(?:is|are)|['’]s) (?:nice|good|great|a plus|a bonus)(?: to have)?,? but not)"
    r" (?:really |that |so |all that |strictly )?(?:an? )?"
    r"(?:essential|necessary|must(?:[- ]have)?|required|requirement|needed|crucial|important|deal ?-?breaker"
    r"|priority)\b|(?:\b(?:is|are)|['’]s) optional\b|\bor not\b(?=$|[,.!?])"
    r"|不是必[须需]的?|不必须|可有可无|无所谓|(?<=(?P<doubled>[\u4e00-\u9fff]))不(?P=doubled)的?(?:都|也|我)?"
    r"(?:行|可以|无所谓|没关系|随便)"
)
"""What stands before it makes room for what follows, or need not be: 红色换成藏青, "leather isn't a must"."""
_PERMITTED = (
    rf"\b(?:i )?(?:do{_N_T}|would{_N_T}|do not|would not) mind\b"
    r"|\b(?:(?:i(?:'m| am)|we(?:'re| are)) )?(?:ok|okay|fine|happy|good|open) (?:with|to)\b"
    r"|\bi (?:can|could) live with\b"
)
_PERMITTED_BEFORE = (
    r"\b(?:(?:is|are|'s|would be|will be|'d be|might be|could be|seems?|looks?|sounds?)"
    r" (?:also |still |just |totally |perfectly |quite |really |absolutely )*"
    r"(?:fine|ok(?:ay)?|alright|all right|good|acceptable|welcome|no problem|not a problem|allowed|not bad)"
    r"|(?:also )?works?(?= (?:too|as well|for me)|$|[,.!])"
    r"|(?:would|will|'d|might|could) (?:also )?(?:do|work|fit)\b)"
    rf"|\bis{_N_T} a problem\b|\bok(?:ay)? (?:though|too)\b"
    r"|(?:倒是?|还|也)?(?:还)?(?:可以(?!吗|么|不|便宜|看|买|给|换|用)|没问题|没关系|能接受|凑合|无妨)"
    r"|也(?:还)?(?:行|成|好(?!看)|ok\b)"
)
_MARKS: Mapping[str, str] = {
    "refused_before": _REFUSED_BEFORE, "permitted_before": _PERMITTED_BEFORE, "permitted": _PERMITTED,
    "removed_before": _REMOVED_BEFORE, "freed": _FREED, "freed_before": _FREED_BEFORE,
    "removed": _REMOVED, "refused": _NEGATION, "end": _CLAUSE_END,
}  # fmt: skip
_MARK = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _MARKS.items()))
_ATTITUDES: Mapping[str, Attitude] = {
    "refused": "refuses", "permitted": "permits", "freed": "frees", "removed": "removes",
}  # fmt: skip
_PARTICLES = frozenset("了吧啦啊呢哦的呀")
_BEFORE_NEGATION = frozenset("都就也全")
"""Characters that end no clause where a negation follows: 红的都不要."""


@dataclass(frozen=True, slots=True)
class ClauseMark(Span):
    """Phrase that says what is meant by the words beside it, or the end of a clause."""

    attitude: Attitude | None
    """Attitude to the words behind it, or in front of it; None for the end of a clause."""
    is_behind: bool = False
    """Whether it speaks of the words in front of it."""


def clause_marks(text: str) -> Iterator[ClauseMark]:
    """Iterate over the marks of a text in its normal form, from the left."""
    for match in _MARK.finditer(text):
        name = next(one for one in _MARKS if match[one] is not None)
        attitude = _ATTITUDES.get(name.removesuffix("_before"))
        yield ClauseMark(match.start(), match.end(), attitude, name.endswith("_before"))


def attitudes(text: str, units: Sequence[Unit]) -> list[Attitude]:
    """Return the attitude to each unit of a text in its normal form.

    A mark reaches to the next one. Behind what it speaks of (红色的不要, "red isn't my thing", "burgundy is
    fine") it reaches back to the one before it.
    """
    marks = list(clause_marks(text))
    found: list[Attitude] = ["wants"] * len(units)
    for number, mark in enumerate(marks):
        if mark.attitude is None:
            continue
        end = marks[number + 1].start if number + 1 < len(marks) else len(text)
        after = [index for index, unit in enumerate(units) if mark.end <= unit.start < end]
        alone = all(units[index].is_sign or units[index].text in _PARTICLES for index in after)
        if mark.is_behind or (alone and text[mark.start] in "不别除"):
            begin = _begin_of_clause(text, marks, number)
            after = [index for index, unit in enumerate(units) if begin <= unit.start < mark.start]
        if mark.attitude == "permits" and mark.is_behind and (last := _after_freed(units, marks, number)):
            found[last] = "permits"
        for index in after:
            # 除了白色都可以 refuses white, however much else may be.
            if mark.attitude != "permits" or found[index] == "wants":
                found[index] = mark.attitude
    return found


def _after_freed(units: Sequence[Unit], marks: Sequence[ClauseMark], number: int) -> int:
    """Return the unit that a mark behind it permits after others were given up: "forget leather canvas is
    fine"; 0 for none."""
    before = marks[number - 1] if number else None
    if before is None or before.is_behind or before.attitude not in ("frees", "removes"):
        return 0
    between = [i for i, unit in enumerate(units) if before.end <= unit.start < marks[number].start]
    return between[-1] if len(between) > 1 and not units[between[-1]].is_han else 0


def _begin_of_clause(text: str, marks: Sequence[ClauseMark], number: int) -> int:
    """Return where the clause in front of a mark begins."""
    at = marks[number].start
    for mark in reversed(marks[:number]):
        word = text[mark.start : mark.end]
        if mark.attitude is not None or word not in _BEFORE_NEGATION or mark.end != at:
            return mark.end
        at = mark.start
    return 0
