"""Move of a shopper to another id in all that a store keeps."""

from vrec.privacy.consent.table import ConsentTable
from vrec.profiles.links import LinkTable
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.serving.conversation.hand_overs import HandOverTable
from vrec.serving.conversation.table import ConversationTable


def rekey_shopper(
    store: SqliteStore | RedisStore,
    conversations: ConversationTable,
    hand_overs: HandOverTable,
    user_id: str,
    new_id: str,
) -> bool:
    """Move a shopper, session or account to another id, and return whether there were events.

    Each step does what is left to do: a move that was cut off is completed by the same call.

    Args:
        store: The store.
        conversations: Its conversations.
        hand_overs: Its hand-overs.
        user_id: Present id, as it is kept.
        new_id: New id of the same kind.
    """
    # First: a refusal holds wherever the events are.
    ConsentTable(store).rename(user_id, new_id)
    moved = store.rename(user_id, new_id)
    LinkTable(store).rename(user_id, new_id)
    conversations.rename(user_id, new_id)
    hand_overs.join(user_id, store.owners([new_id])[new_id])
    return moved > 0
