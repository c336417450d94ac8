"""Which versions the activation log holds on to, whatever their models are called."""

from nearnorm.models.store.folder import ModelStore


def in_use(store: ModelStore) -> dict[str, str]:
    """By version why it may not go: it is a champion, or what a rollback puts back. Raises StoreError."""
    champions = {
        entry.version: f"it is the champion of {entry.model!r}" for entry in store.champions().values()
    }
    before = {
        stack[-2]: f"a rollback of {model!r} puts it back"
        for model, stack in store.stacks().items()
        if len(stack) > 1
    }
    return before | champions
