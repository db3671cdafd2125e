"""Texts for codes of the service, by group; the texts of the source are English."""

from collections.abc import Mapping

from vrec.ranking.reranking.reasons import REASONS
from vrec.serving.console.languages import ConsoleLanguage, mark

LABELS: Mapping[str, Mapping[str, str]] = {
    "kind": {"product": mark("Product"), "live": mark("Live stream"), "clip": mark("Clip")},
    "event": {
        "impression": mark("Seen in a list"),
        "click": mark("Opened"),
        "watch": mark("Watched"),
        "like": mark("Liked"),
        "share": mark("Shared"),
        "follow": mark("Followed the creator"),
        "gift": mark("Gave a gift"),
        "cart": mark("Put in the cart"),
        "purchase": mark("Bought"),
        "hide": mark("Hidden by the shopper"),
        "unhide": mark("Hiding undone"),
        "dislike": mark("Disliked"),
        "skip": mark("Skipped"),
        "unlike": mark("Like taken back"),
        "unfollow": mark("No longer follows the creator"),
        "refund": mark("Refunded"),
        "search": mark("Searched"),
    },
    "rule": {
        "unknown": mark("not in the catalog"),
        "unavailable": mark("hidden by the shop"),
        "unpublished": mark("not published yet"),
        "expired": mark("expired"),
        "kind": mark("of a kind that the list does not show"),
        "age": mark("above the shopper’s age"),
        "blocked_video": mark("hidden by the shopper"),
        "blocked_creator": mark("creator blocked by the shopper"),
        "blocked_category": mark("category blocked by the shopper"),
        "bought": mark("bought before"),
        "seen": mark("watched before"),
        "filter": mark("excluded by a filter"),
        "ban": mark("banned by a rule of the shop"),
        "over": mark("live stream that is over"),
    },
    "rule_kind": {
        "pin": mark("Pin"),
        "boost": mark("Boost"),
        "ban": mark("Ban"),
        "campaign": mark("Campaign"),
    },
    "rule_does": {
        "pin": mark("Pin: puts a video at a position"),
        "boost": mark("Boost: raises or lowers videos"),
        "ban": mark("Ban: keeps videos out"),
        "campaign": mark("Campaign: gives videos a share for a time"),
    },
    "rule_state": {"scheduled": mark("scheduled"), "active": mark("active"), "ended": mark("ended")},
    "source": {
        "cf": mark("shoppers with a similar history"),
        "content": mark("similar content"),
        "popular": mark("popularity"),
        "new": mark("new videos"),
    },
    "score": {
        "cf": mark("co-watching"),
        "seed": mark("related videos"),
        "content": mark("content"),
        "popular": mark("popularity"),
    },
    "part": {
        "profiles": mark("Profiles and events"),
        "ranking": mark("Ranking"),
        "encoder": mark("Encoder"),
        "cards": mark("Titles"),
        "Profiles": mark("Profiles and events"),
        "Ranking": mark("Ranking"),
        "Encoder": mark("Encoder"),
        "Api": mark("HTTP"),
    },
    "component": {
        "ranker": mark("Ranker"),
        "recommender": mark("Recommender"),
    },
    "alarm": {
        "order": mark("The order of lists has lost its skill"),
        "clicks_below": mark("Fewer clicks than the model predicts"),
        "clicks_above": mark("More clicks than the model predicts"),
        "coverage": mark("Lists show few different videos"),
    },
    "order": {"ranked": mark("by the ranker"), "popular": mark("by popularity")},
    "problem": {
        "string_too_long": mark("The text is too long."),
        "string_too_short": mark("The text is empty."),
        "string_pattern_mismatch": mark("The text has characters that are not allowed here."),
        "kind": mark("Choose one of the values."),
        "literal_error": mark("Choose one of the values."),
        "float_type": mark("Write a number such as 12.50."),
        "greater_than_equal": mark("The number is too small."),
        "less_than_equal": mark("The number is too large."),
        "finite_number": mark("Write a number such as 12.50."),
        "too_long": mark("There are too many values."),
        "too_short": mark("Write at least one value."),
        "time_text": mark("Write a date and a time."),
        "end": mark("The end is not after the start."),
        "expression": mark("The filter expression cannot be read: see the examples in docs/http.md."),
        "greater_than": mark("The number is too small."),
        "less_than": mark("The number is too large."),
        "int_type": mark("Write a whole number."),
        "rule_id": mark("Write at most 64 small letters, digits, - and _."),
        "shoppers": mark("Write the ids of 1 to 100 shoppers."),
        "two_arms": mark("Write a name and a share for two arms at least."),
        "shares": mark("The shares of the arms do not add up to 100 percent."),
        "one_name": mark("Two arms have the same name."),
        "arm_name": mark("Write at most 64 small letters, digits, - and _."),
        "utc_range": mark("The date is outside of the years 1 to 9999."),
    },
    "move": {
        "UnknownBundle": mark("Nothing is moved: the folder of bundles has no bundle of this name."),
        "UnreadableBundle": mark("Nothing is moved: this bundle cannot be read."),
        "MoveRuns": mark("Nothing is moved: another move of the service runs."),
        "CannotMove": mark(
            "Nothing is moved: the service was not started by “vrec serve” or “serve deploy”."
        ),
    },
    "done": {
        "saved": mark("The changes are saved and in force."),
        "hidden": mark("The video is hidden: no list shows it."),
        "shown": mark("The video is shown again."),
        "erased": mark("The shopper’s events and profile are erased."),
        "rule_saved": mark("The rule is saved and in force."),
        "rule_removed": mark("The rule is removed."),
        "move_started": mark("The move has begun."),
        "started": mark("The A/B test has begun."),
        "stopped": mark("The A/B test has ended: everybody gets this arm."),
        "signed_out": mark("You are signed out."),
    },
}
"""Text of each code. A code without one, such as a name that the shop chose, is shown as it is."""

REASON_TEXTS = (
    mark("because you watched {}"),
    mark("because of a video that you watched"),
    mark("because you bought something from {}"),
    mark("because of a video that you bought something from"),
    mark("because you liked {}"),
    mark("because of a video that you liked"),
    mark("because you shared {}"),
    mark("because of a video that you shared"),
    mark("because you put something from {} in the cart"),
    mark("because of a video from which you put something in the cart"),
    mark("because you followed the creator of {}"),
    mark("because of a video whose creator you followed"),
    mark("because you opened {}"),
    mark("because of a video that you opened"),
    mark("because you like videos by {}"),
    mark("because you like this creator's videos"),
    mark("because you like {}"),
    mark("because it is new"),
    mark("because it is popular"),
    mark("as something different to try"),
    mark("as a pick of the shop"),
    mark("as part of {}"),
)
"""All texts of REASONS."""
INVALID = mark("This value is not valid.")
TOO_FEW = mark("too few yet")
NO_DATA = mark("no data")
INTERVAL = mark("{low} to {high}")


def code_label(group: str, code: str, language: ConsoleLanguage) -> str:
    """Return the text of a code, and after it what it names behind a colon, such as the id of a rule."""
    kind, _, name = code.partition(":")
    text = language.text(LABELS[group].get(kind, ""))
    if not text:
        return code
    return f"{text}: {name}" if name else text


def reason_label(reason: str, titles: Mapping[str, str], language: ConsoleLanguage) -> str:
    """Return the text of a reason; see `vrec.ranking.reranking.reasons.reason_text`."""
    code, _, subject = reason.partition(":")
    rule = REASONS.get(code)
    if rule is None:
        return reason
    name = subject if rule.unnamed is None else titles.get(subject)
    if name or rule.unnamed is None:
        return language.text(rule.text).replace("{}", name or "")
    return language.text(rule.unnamed)
