"""Any Hugging Face fast tokenizer: text to ids as fast as this machine can, and back."""

import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokka.tokenizer.encoders import Backend, Encoder, ExactEncoder, Ids, fastest_encoder
from tokka.tokenizer.seal import seal
from tokka.workspace.files import digest_file, digest_json, whole_file

_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
"""A tokenizer in the Hugging Face layout; the first file is needed, the others may be there."""

_ROLES = ("bos", "eos", "pad", "unk", "sep", "cls", "mask")


class LoadedTokenizer:
    """A tokenizer and its encoders.

    The text of a document cannot make a special token: ``</s>`` written on a web page is encoded as the four
    characters that it is. Where a source's template writes special tokens on purpose, as in
    ``<|user|>Translate: {en} <|assistant|>{fi}``, they are named in ``allowed_specials``, and those alone are
    read as special tokens.

    Attributes:
        folder: where its files lie.
        size: one more than its largest id, special tokens included: the rows that an embedding needs.
        specials: the id of every special token.
        bos_id, eos_id, pad_id, unk_id: of those, the ones with a role; None where there is none.
        begin_id: of the token before every document, where the tokenizer itself puts its beginning token
            before a text, as Llama's does; None for all others, though they may name a beginning token.
        digest: SHA-256 of what decides its ids.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self.folder = folder
        self._config = _read_json(folder / "tokenizer.json")
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # what tokenizers raises
            raise ValueError(f"{folder / 'tokenizer.json'} is not a tokenizer: {error}") from error
        ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        roles, others = _special_tokens(folder)
        _add_special_tokens(self._config, {*roles.values(), *others} & ids.keys(), ids)
        special = (token["content"] for token in self._config["added_tokens"] if token["special"])
        self.specials = {name: ids[name] for name in sorted(special)}
        self.bos_id, self.eos_id, self.pad_id, self.unk_id = (
            self.specials.get(roles.get(role, "")) for role in ("bos", "eos", "pad", "unk")
        )
        self.begin_id = self.bos_id if self._adds_beginning() else None
        self.size = max(ids.values()) + 1
        self._encoders: dict[frozenset[str], _Encoders] = {}

    def _adds_beginning(self) -> bool:
        """Tell whether a text begins with the beginning token: as the configuration states, or as it does."""
        stated = _read_json(self.folder / "tokenizer_config.json").get("add_bos_token")
        return self._tokenizer.encode("").ids[:1] == [self.bos_id] if stated is None else bool(stated)

    @cached_property
    def digest(self) -> str:
        roles = [self.bos_id, self.eos_id, self.pad_id, self.unk_id]
        return digest_json([digest_file(self.folder / "tokenizer.json"), self.specials, roles])

    @property
    def backend(self) -> Backend:
        """What encodes batches of plain text: gigatoken where it can, ``tokenizers`` otherwise."""
        return self.backend_for(())

    def backend_for(self, allowed_specials: Collection[str]) -> Backend:
        """Return what encodes batches of texts that may spell some special tokens."""
        return self._encoders_with(allowed_specials).fastest.backend

    @property
    def convention(self) -> str:
        """Which tokens stand before and after every document, and which one pads, for people."""
        names = {number: name for name, number in self.specials.items()}
        begin, end, pad = (
            "nothing" if number is None else f"{names[number]} ({number})"
            for number in (self.begin_id, self.eos_id, self.pad_id)
        )
        return f"documents begin with {begin} and end with {end}; padding is {pad}, and sequences have none"

    @property
    def files(self) -> list[Path]:
        """All its files, in the Hugging Face layout."""
        return [path for name in _FILES if (path := self.folder / name).is_file()]

    def encode(self, text: str, allowed_specials: Collection[str] = ()) -> list[int]:
        """Return the ids of ``text``; no token is added to it.

        Args:
            text: any Unicode text.
            allowed_specials: special tokens that the text may spell.

        Raises:
            ValueError: the text has a lone surrogate, or a name in ``allowed_specials`` is no special token.
        """
        return self._encoders_with(allowed_specials).exact.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str], allowed_specials: Collection[str] = ()) -> list[Ids]:
        """Return the ids of each text as int32, the same as :meth:`encode`'s, by the fastest backend."""
        return self._encoders_with(allowed_specials).fastest.encode_batch(texts)

    def encode_batch_exactly(self, texts: Sequence[str], allowed_specials: Collection[str] = ()) -> list[Ids]:
        """Return what :meth:`encode_batch` should, by ``tokenizers``: to check it, and to compare speeds."""
        return self._encoders_with(allowed_specials).exact.encode_batch(texts)

    def decode(self, ids: Sequence[int] | NDArray[np.integer]) -> str:
        """Return the text of ``ids``, special tokens included; bytes that are no UTF-8 become U+FFFD."""
        return self._tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded_once, (self.folder,)

    def _encoders_with(self, allowed_specials: Collection[str]) -> "_Encoders":
        allowed = frozenset(allowed_specials)
        if allowed not in self._encoders:
            unknown = sorted(allowed - self.specials.keys())
            if unknown:
                raise ValueError(f"{', '.join(unknown)}: no special token of {self.folder}")
            self._encoders[allowed] = _Encoders(self._config, self.specials.keys() - allowed)
        return self._encoders[allowed]


class _Encoders:
    """The encoders of a tokenizer with some special tokens hidden; each is made when it is first used."""

    def __init__(self, config: dict[str, Any], hidden: Set[str]) -> None:
        self._config, self._hidden = seal(config, hidden), hidden
        self._names = {token["content"] for token in config["added_tokens"]}

    @cached_property
    def exact(self) -> ExactEncoder:
        return ExactEncoder(self._config)

    @cached_property
    def fastest(self) -> Encoder:
        return fastest_encoder(
            self._config, self.exact, names=self._names, spelled=self._names - self._hidden
        )


@cache
def _loaded_once(folder: Path) -> LoadedTokenizer:
    """Load a tokenizer that was sent to this process, the first time it comes."""
    return LoadedTokenizer(folder)


def load_tokenizer(name: str | Path, revision: str | None = None) -> LoadedTokenizer:
    """Load a Hugging Face fast tokenizer.

    Args:
        name: a local folder, or a hub id, whose files are downloaded or taken from the hub's cache.
        revision: branch, tag or commit of a hub id.

    Raises:
        ValueError: it cannot be had, is damaged, is a slow tokenizer (no ``tokenizer.json``), or needs code
            of its own, which is never run.
    """
    folder = Path(name) if Path(name).is_dir() else _from_hub(str(name), revision)
    if not (folder / "tokenizer.json").is_file():
        raise ValueError(
            f"{name} has no tokenizer.json, so it is a slow tokenizer or none; save it as a fast one: "
            f"AutoTokenizer.from_pretrained({str(name)!r}).save_pretrained(FOLDER)"
        )
    if "AutoTokenizer" in (_read_json(folder / "tokenizer_config.json").get("auto_map") or {}):
        raise ValueError(
            f"{name} needs Python code of its own (auto_map in tokenizer_config.json), which is never run; "
            f"use a tokenizer that its tokenizer.json describes completely"
        )
    return LoadedTokenizer(folder)


def save_copy(tokenizer: LoadedTokenizer, folder: Path) -> None:
    """Copy the tokenizer's files into ``folder``, each whole or not at all."""
    for path in tokenizer.files:
        with whole_file(folder / path.name) as aside:
            shutil.copyfile(path, aside)


def _from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"there is no folder {name}, and the hub does not give it: {reason}") from error


def _special_tokens(folder: Path) -> tuple[dict[str, str], Iterator[str]]:
    """Return the special tokens that have a role, by role, and the others."""
    stated = _read_json(folder / "special_tokens_map.json") | _read_json(folder / "tokenizer_config.json")
    roles = {role: _content(stated[f"{role}_token"]) for role in _ROLES if stated.get(f"{role}_token")}
    others = stated.get("additional_special_tokens") or stated.get("extra_special_tokens") or []
    return roles, map(_content, others.values() if isinstance(others, dict) else others)


def _add_special_tokens(config: dict[str, Any], names: Collection[str], ids: Mapping[str, int]) -> None:
    """Make ``names``, entries of the vocabulary, special tokens, as transformers does when it loads them."""
    added = config["added_tokens"] = config.get("added_tokens") or []
    for token in added:
        token["special"] |= token["content"] in names
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for name in sorted(set(names) - {token["content"] for token in added}):
        added.append({"id": ids[name], "content": name, "special": True} | flags)


def _content(token: str | dict[str, Any]) -> str:
    return token if isinstance(token, str) else token["content"]


def _read_json(path: Path) -> dict[str, Any]:
    """Read an object from a JSON file; empty where there is none."""
    try:
        content = json.loads(path.read_bytes()) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content
