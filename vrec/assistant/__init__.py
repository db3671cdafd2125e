"""Conversation about a catalog: messages, dialogue state, and answers that name only what is there."""
