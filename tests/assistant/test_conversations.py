"""Conversations against an oracle that keeps what was asked for without reading messages."""

from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from vrec.assistant.assistant import Assistant
from vrec.assistant.dialogue import DialogueState
from vrec.synthetic.videos.plan import SyntheticVideosConfig, plan_catalog, videos_table
from vrec.synthetic.videos.products import PRODUCT_CATEGORIES, PRODUCT_COLORS

PLAN = plan_catalog(SyntheticVideosConfig(videos=160, near_duplicates=0, broken=0))
BY_ID = {video.video_id: video for video in PLAN}
ASSISTANT = Assistant(videos_table(PLAN, Path("videos")), currency="EUR")
CATEGORIES = {one.category: one.zh for one in PRODUCT_CATEGORIES}
COLORS = {one.en: one.zh for one in PRODUCT_COLORS}
ASK = {
    "en": ["I'm looking for {}", "show me {} please", "do you have {}?"],
    "zh": ["我想要{}", "有没有{}", "帮我找{}"],
}
WANT = {"en": ["in {}", "only {} ones", "make it {}"], "zh": ["要{}的", "只要{}", "换成{}的"]}
REFUSE = {
    "en": ["not {}", "no {} ones please", "anything but {}"],
    "zh": ["不要{}的", "除了{}都行", "{}的不要"],
}
UNDER = {"en": ["under {}", "less than {} euros"], "zh": ["低于{}元", "不到{}块的"]}
OVER = {"en": ["at least {}", "{} or more"], "zh": ["至少{}元", "{}元以上"]}
CHEAPER = {"en": ["cheaper", "something less expensive"], "zh": ["便宜点", "有没有更便宜的"]}
MORE = {"en": ["show me more", "anything else?"], "zh": ["还有吗", "换一批"]}
RESET = {"en": ["start again", "forget everything"], "zh": ["重新开始", "从头来"]}
LANGUAGES = st.sampled_from(["en", "zh"])


def in_order(request):
    return request.video_ids[: request.k]


class Conversation(RuleBasedStateMachine):
    """Shopper who knows what was asked for so far."""

    @initialize()
    def begin(self):
        self.state = DialogueState()
        self.forget()

    def forget(self):
        self.category, self.color, self.refused = None, None, set()
        self.least, self.most, self.shown = None, None, ()

    def fits(self, video):
        return (
            (self.category is None or video.category == self.category)
            and (self.color is None or video.color == self.color)
            and video.color not in self.refused
            and (self.least is None or video.price >= self.least)
            and (self.most is None or video.price < self.most)
        )

    def say(self, texts, language, *values, pick=0):
        message = texts[language][pick % len(texts[language])].format(*values)
        self.state, answer = ASSISTANT.answer(self.state, message, in_order)
        assert answer.language == language
        return answer

    def check_list(self, answer, *, without=()):
        """The cards are those that fit, as many as there are; where none fits, that is said."""
        fitting = [video.video_id for video in PLAN if self.fits(video) and video.video_id not in without]
        if fitting:
            assert answer.kind == "cards"
            assert not answer.relaxed
            assert list(answer.video_ids) == sorted(fitting, key=list(BY_ID).index)[:5]
            self.shown = answer.video_ids
        else:
            assert answer.relaxed or answer.kind == "nothing" or without
            self.shown = answer.video_ids or self.shown
        assert set(answer.video_ids) <= set(BY_ID)

    @rule(category=st.sampled_from(sorted(CATEGORIES)), language=LANGUAGES, pick=st.integers(0, 5))
    def ask_for_category(self, category, language, pick):
        is_another = self.category not in (None, category)
        self.category = category
        name = category if language == "en" else CATEGORIES[category]
        self.check_list(self.say(ASK, language, name, pick=pick))
        if is_another:
            self.end_what_does_not_fit()

    def end_what_does_not_fit(self):
        """Forget the bounds and the color of another subject where they leave nothing of this one."""
        if any(map(self.fits, PLAN)):
            return
        kept = self.color
        for bounds, color in (((None, None), kept), ((self.least, self.most), None), ((None, None), None)):
            before = self.least, self.most, self.color
            (self.least, self.most), self.color = bounds, color
            if any(map(self.fits, PLAN)):
                return
            self.least, self.most, self.color = before

    @rule(color=st.sampled_from(sorted(COLORS)), language=LANGUAGES, pick=st.integers(0, 5))
    def want_color(self, color, language, pick):
        self.color = color
        self.refused.discard(color)
        name = color if language == "en" else COLORS[color]
        self.check_list(self.say(WANT, language, name, pick=pick))

    @rule(color=st.sampled_from(sorted(COLORS)), language=LANGUAGES, pick=st.integers(0, 5))
    def refuse_color(self, color, language, pick):
        self.refused.add(color)
        self.color = None if self.color == color else self.color
        name = color if language == "en" else COLORS[color]
        self.check_list(self.say(REFUSE, language, name, pick=pick))

    @rule(price=st.integers(5, 200), language=LANGUAGES, pick=st.integers(0, 5))
    def bound_above(self, price, language, pick):
        self.most = float(price)
        self.least = None if self.least is not None and self.least >= price else self.least
        self.check_list(self.say(UNDER, language, price, pick=pick))

    @rule(price=st.integers(5, 200), language=LANGUAGES, pick=st.integers(0, 5))
    def bound_below(self, price, language, pick):
        self.least = float(price)
        self.most = None if self.most is not None and self.most <= price else self.most
        self.check_list(self.say(OVER, language, price, pick=pick))

    @precondition(lambda self: self.shown)
    @rule(language=LANGUAGES, pick=st.integers(0, 5))
    def ask_for_cheaper(self, language, pick):
        answer = self.say(CHEAPER, language, pick=pick)
        shown = [BY_ID[name].price for name in self.shown]
        least, most = self.least, self.most
        for bound in (
            min(shown),
            sorted(shown)[len(shown) // 2] if len(shown) % 2 else _middle(shown),
            max(shown),
        ):
            self.most, self.least = bound, None if least is not None and least >= bound else least
            if any(self.fits(video) for video in PLAN):
                self.check_list(answer)
                return
        self.least, self.most = least, most
        assert answer.text.startswith(("Nothing cheaper fits.", "没有更便宜的了。"))
        self.shown = answer.video_ids or self.shown

    @precondition(lambda self: self.shown)
    @rule(language=LANGUAGES, pick=st.integers(0, 5))
    def ask_for_more(self, language, pick):
        seen = set(self.state.seen)
        answer = self.say(MORE, language, pick=pick)
        assert seen.isdisjoint(answer.video_ids)
        self.shown = answer.video_ids or self.shown

    @rule(language=LANGUAGES, pick=st.integers(0, 5))
    def start_again(self, language, pick):
        self.say(RESET, language, pick=pick)
        assert self.state == DialogueState(language=language)
        self.forget()

    @precondition(lambda self: self.shown)
    @rule(place=st.integers(1, 12), language=LANGUAGES)
    def ask_for_price(self, place, language):
        message = f"how much is number {place}?" if language == "en" else f"第{place}个多少钱"
        before = self.state
        self.state, answer = ASSISTANT.answer(self.state, message, in_order)
        assert self.state.query == before.query
        if place > len(self.shown):
            assert answer.kind == "talk"
            assert str(len(self.shown)) in answer.text
            return
        video = BY_ID[self.shown[place - 1]]
        assert answer.video_ids == (video.video_id,)
        assert f"{video.price:.2f}".removesuffix(".00") in answer.text


def _middle(prices):
    ordered = sorted(prices)
    return (ordered[len(ordered) // 2 - 1] + ordered[len(ordered) // 2]) / 2


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
