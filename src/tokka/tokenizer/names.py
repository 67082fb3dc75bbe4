"""Names in the folder of an extended tokenizer; see :mod:`tokka.tokenizer.extend`."""

BASE = "base"
"""Folder of the tokenizer as it was."""

PIECES = "tokenizer_extension.json"
"""Says of which old tokens each new one is made."""
