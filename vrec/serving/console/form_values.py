"""Values of form fields as JSON has them; what is no such value stays text, which the models then refuse."""

from datetime import datetime


def number_or_text(text: str) -> float | str:
    """Return a number, or the text if it is none."""
    try:
        return float(text)
    except ValueError:
        return text


def time_or_text(text: str) -> datetime | str | None:
    """Return the time in UTC of a `datetime-local` field; None if empty, the text if it is no time."""
    text = text.strip()
    try:
        return datetime.fromisoformat(f"{text}+00:00") if text else None
    except ValueError:
        return text
