"""A shop's documents: passages, questions that they answer, questions that they do not."""

from pathlib import Path

import numpy as np
import pytest

from vrec.assistant.assistant import Assistant
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.documents import DocumentsError, Passage, parse_document, read_documents, sentences
from vrec.assistant.passages import PassageSearch
from vrec.core.types import Clip
from vrec.encoders.text import TextEncoder, TextEncoderConfig
from vrec.synthetic import shop
from vrec.synthetic.videos.plan import SyntheticVideosConfig, plan_catalog, videos_table

CATALOG = videos_table(
    plan_catalog(SyntheticVideosConfig(videos=40, near_duplicates=0, broken=0)), Path("videos")
)
POLICIES = Path(shop.__file__).parent / "policies"
TEXT = """# Returns
You can return within **30 days**. It costs 2.5 dollars.

## How to return
1. Pack it.
2. Send it [to us](http://example.com).

| size | chest |
|---|---|
| S | 84 cm |

<b>html</b>
"""


def test_passages_stand_under_their_headings_without_markup():
    first, second = parse_document(TEXT, "returns.md")
    assert (first.anchor, first.title) == ("returns.md#returns", "Returns")
    assert first.text == "You can return within 30 days. It costs 2.5 dollars."
    assert (second.anchor, second.title) == ("returns.md#how-to-return", "Returns › How to return")
    assert second.text.split("\n")[:2] == ["Pack it.", "Send it to us."]
    assert "S: 84 cm" in second.text
    assert "<b>" not in second.text


def test_a_decimal_point_ends_no_sentence():
    assert sentences("It costs 2.5 dollars. Pay now!\n真的。好") == [
        "It costs 2.5 dollars.",
        "Pay now!",
        "真的。",
        "好",
    ]


def test_a_long_section_is_cut_between_its_blocks():
    text = "# A\n" + "\n\n".join(f"Paragraph {number} " + "word " * 60 for number in range(8))
    passages = list(parse_document(text, "a.md"))
    assert len(passages) > 2
    assert " ".join(passage.text for passage in passages).count("Paragraph") == 8


def test_unusable_folders_are_named(tmp_path):
    with pytest.raises(DocumentsError, match="is no folder"):
        read_documents(tmp_path / "absent")
    with pytest.raises(DocumentsError, match="no Markdown file"):
        read_documents(tmp_path)
    (tmp_path / "bad.md").write_bytes(b"# A\n\xff\xfe")
    with pytest.raises(DocumentsError, match=r"bad\.md: not UTF-8"):
        read_documents(tmp_path)


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    secret = tmp_path / "secret.md"
    secret.write_text("# Secret\nkey")
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# A\ntext")
    (folder / "b.md").symlink_to(secret)
    assert [passage.document for passage in read_documents(folder)] == ["a.md"]


@pytest.fixture(scope="module")
def search():
    encoder = TextEncoder(TextEncoderConfig())

    def encode(texts):
        return encoder.encode([Clip(str(number), text=text) for number, text in enumerate(texts)])

    return PassageSearch(read_documents(POLICIES), encode)


@pytest.mark.parametrize(
    ("question", "anchor"),
    [
        ("How long does delivery take?", "en/delivery.md#delivery-times"),
        ("can I return earrings?", "en/returns.md#what-cannot-be-returned"),
        ("are sneakers washable by machine?", "en/care.md#cleaning-shoes"),
        ("may I wash sneakers in the machine?", "en/care.md#cleaning-shoes"),
        ("多少天内可以退货", "zh/退换货.md#退货期限"),
        ("能分期吗", "zh/付款.md#付款方式"),
        ("羊毛衫怎么洗", "zh/保养.md#洗衣服"),
    ],
)
def test_a_question_finds_its_passage_in_its_own_language(search, question, anchor):
    assert search.search(question)[0].passage.anchor == anchor


def test_words_of_questions_and_documents_meet_without_their_endings():
    passages = [Passage("a.md", ("Renting",), "We rent cellos."), Passage("a.md", ("Tuning",), "Pianos.")]
    none_similar = PassageSearch(passages, lambda texts: np.zeros((len(texts), 2), np.float32))
    assert [none_similar.search(q)[0].passage.title for q in ("a rented one", "tuned?")] == [
        "Renting",
        "Tuning",
    ]


def test_an_ordinal_before_another_noun_is_no_card(search):
    assistant = Assistant(CATALOG, search)
    rank = lambda request: request.video_ids[: request.k]  # noqa: E731
    state, _ = assistant.answer(DialogueState(), "show me lamps", rank)
    for begun in (DialogueState(), state):
        _, answer = assistant.answer(begun, "is the first delivery free?", rank)
        assert [match.passage.anchor for match in answer.sources] == ["en/delivery.md#delivery-costs"]


def test_a_quote_is_made_of_the_passage_alone(search):
    for match in search.search("how do I return a dress?", k=5):
        assert all(part in match.passage.text for part in sentences(match.quote))


@pytest.mark.parametrize("question", ["Who is your CEO?", "今天天气怎么样", "Do you sponsor influencers?"])
def test_what_stands_nowhere_scores_below_what_is_answered(search, question):
    assert search.search(question)[0].score < 0.3


def test_two_characters_are_a_word_also_where_one_of_them_says_nothing_by_itself():
    passages = [
        Passage("a.md", ("估价",), "拿到店里来看。"),
        Passage("b.md", ("报修",), "怎么办都行，打电话来。"),
    ]
    words_alone = PassageSearch(passages, lambda texts: np.zeros((len(texts), 4), np.float32))
    assert words_alone.search("我的旧吉他怎么估价")[0].passage.document == "a.md"


@pytest.fixture(scope="module")
def served(search):
    return Assistant(CATALOG, search, "USD")


@pytest.mark.parametrize("question", ["do you ship to Norway?", "Do you ship to Germany?", "能寄到德国吗"])
def test_a_country_is_a_question_about_abroad(served, question):
    _, answer = served.answer(DialogueState(), question, lambda request: request.video_ids)
    assert answer.kind == "passage"
    assert "en/delivery.md" in answer.sources[0].passage.anchor or "zh/" in answer.sources[0].passage.anchor


def test_without_documents_a_question_of_customer_service_is_handed_over():
    shop = Assistant(CATALOG, None, "USD")
    for question in ("Do you ship to Germany?", "怎么退货"):
        _, answer = shop.answer(DialogueState(), question, lambda request: request.video_ids)
        assert answer.kind == "person"
