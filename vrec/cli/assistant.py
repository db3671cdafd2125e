"""`vrec assistant`."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vrec.cli.options import EXIT_OK, EXIT_PARTIAL, SettingsOptions, check_paths, command

if TYPE_CHECKING:
    from vrec.assistant.answers import Answer
    from vrec.serving.conversation.load import LocalAssistant


@command
def assistant(
    *,
    bundle: Annotated[str, typer.Option(help="A bundle's folder; a path or a URI.")],
    documents: Annotated[
        str | None, typer.Option(help="A folder of Markdown files that answer questions of customer service.")
    ] = None,
    script: Annotated[
        str | None,
        typer.Option(
            help="A file of messages to answer, one a line; an empty line begins another conversation."
        ),
    ] = None,
    run: SettingsOptions,
) -> int:
    """Talk with the assistant about a bundle's videos, in English or Chinese."""
    settings = run.settings([f"serve.assistant.documents={json.dumps(documents)}"] if documents else [])
    check_paths(bundle=bundle, documents=documents, script=script)
    from vrec.assistant.dialogue import DialogueState
    from vrec.profiles.profile import Profile
    from vrec.serving.conversation.load import load_assistant

    shop = load_assistant(bundle, settings.serve)
    state, turns, user = DialogueState(), [], Profile("user", "")
    most, refused = settings.serve.assistant.message_chars, 0
    for message in _messages(script):
        if message is None:
            state = DialogueState()
            if not run.as_json and script is not None:
                print()
            continue
        if len(message) > most:
            refused += 1
            print(
                f"vrec: a message of {len(message):,} characters is not answered: shorten it to {most:,}, or "
                f"raise serve.assistant.message_chars ({message[:40]}…)",
                file=sys.stderr,
            )
            continue
        state, answer = shop.answer(state, message, user)
        turns.append({"message": message, **_as_json(answer, shop)})
        if not run.as_json:
            _print(message if script else None, answer, shop)
    if run.as_json:
        run.show({"turns": turns}, lambda _: None)
    return EXIT_PARTIAL if refused and script else EXIT_OK


def _messages(script: str | None) -> Iterator[str | None]:
    """Iterate over messages; None begins another conversation."""
    if script is not None:
        with open(script, encoding="utf-8") as file:
            for line in file:
                yield line.strip() or None
        return
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        yield line or None


def _as_json(answer: "Answer", shop: "LocalAssistant") -> dict[str, Any]:
    return {
        "kind": answer.kind,
        "language": answer.language,
        "text": answer.text,
        "cards": [_card(name, shop) for name in answer.video_ids],
        "constraints": [{"key": one.key, "label": one.label} for one in answer.constraints],
        "relaxed": list(answer.relaxed),
        "unchecked": list(answer.unchecked),
        "sources": [match.passage.anchor for match in answer.sources],
        "suggestions": [one.message for one in answer.suggestions],
        "hand_over": answer.hand_over,
    }


def _card(video_id: str, shop: "LocalAssistant") -> dict[str, Any]:
    row = shop.card(video_id) or {}
    return {"video_id": video_id, **{name: row.get(name) for name in ("title", "category", "price")}}


def _print(message: str | None, answer: "Answer", shop: "LocalAssistant") -> None:
    if message is not None:
        print(f"> {message}")
    print(answer.text)
    for place, name in enumerate(answer.video_ids, start=1):
        card = _card(name, shop)
        price = "" if card["price"] is None else f"  {card['price']:g}"
        print(f"  {place}. {card['title'] or name}{price}")
