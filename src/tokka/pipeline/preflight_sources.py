"""Whether a source is there, and its first records have the fields that its documents are made of."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tokka.recipe.load import Problem
from tokka.recipe.sources import Source
from tokka.workspace.hub import Hub, local_folder
from tokka.workspace.machine import install_hint, missing_modules

if TYPE_CHECKING:
    from tokka.data.sources.read import Input

_PROBED_FILES, _PROBED_RECORDS = 16, 5


def check_source(key: str, source: Source, root: Path, hub: Hub) -> Iterator[Problem]:
    """Yield what ``source`` names that is not there: files, data sets, tokenizers, and fields of records.

    Args:
        key: of the source in the recipe.
        source: as the recipe states it.
        root: where its relative paths begin.
        hub: is asked for what is not on this machine.
    """
    from tokka.data.sources.files import SourceError
    from tokka.data.sources.read import find_inputs

    yield from _curation(key, source, root)
    if source.hub is not None:
        missing = missing_modules("hub")
        if missing:
            yield Problem(f"{key}.hub", f"needs {install_hint(missing, 'hub')}")
            return
        if not (root / source.hub.id).is_dir():
            why_not = hub.why_not("dataset", source.hub.id, source.hub.revision)
            if why_not:
                yield Problem(f"{key}.hub.id", why_not)
            return
    try:
        inputs = find_inputs(source, root)
    except SourceError as error:
        stated, _, reason = str(error).partition(": ")
        yield Problem(f"{key}.{stated}", reason)
        return
    if source.tokenizer is not None:  # of a Megatron source; to read that would be to fetch it
        found = local_folder(source.tokenizer, "tokenizer.json", root)
        why_not = "" if found else hub.why_not("model", source.tokenizer)
        if why_not:
            yield Problem(f"{key}.tokenizer", why_not)
        return
    yield from islice(_lacking_fields(key, source, inputs), 1)


def _curation(key: str, source: Source, root: Path) -> Iterator[Problem]:
    """Find lists and models of a source's curation that are not there, and libraries that it needs."""
    stated = source.curate
    missing = missing_modules("curate") if stated or source.format in ("warc", "html") else ()
    if missing:
        yield Problem(f"{key}.{'curate' if stated else 'format'}", f"needs {install_hint(missing, 'curate')}")
    if stated is None:
        return
    model = stated.language.model if stated.language else None
    named = [("language.model", model)] if model else []
    named += [("block_domains", name) for name in stated.block_domains]
    named += [("block_words", name) for name in stated.block_words]
    for part, name in named:
        if not (root / name).is_file():
            yield Problem(f"{key}.curate.{part}", f"{name!r} is no file below {root.resolve()}")


def _lacking_fields(key: str, source: Source, inputs: Iterable["Input"]) -> Iterator[Problem]:
    """Find inputs whose first records all lack a field that the documents are made of."""
    from tokka.data.documents import Reason, Rejected
    from tokka.data.sources.read import read_input
    from tokka.data.sources.record import fields_of

    stated = "text" if source.template is None else "template"
    for one in islice(inputs, _PROBED_FILES):
        records = list(islice(read_input(one, source), _PROBED_RECORDS))
        lacking = [r for r in records if isinstance(r, Rejected) and r.reason == Reason.MISSING_FIELD]
        if records and len(lacking) == len(records):
            there = _fields_there(one, lacking[0].excerpt)
            missing = [f"`{name}`" for name in fields_of(source) if name.split(".")[0] not in there]
            yield Problem(
                f"{key}.{stated}",
                f"the first records of {one.name} have no {' and no '.join(missing) or 'such nested field'}; "
                f"name fields that they have: {', '.join(there)}",
            )


def _fields_there(one: "Input", excerpt: bytes) -> list[str]:
    """Return the fields of the record of ``one`` that begins with ``excerpt``."""
    from tokka.data.sources.hub import HubShard

    if not isinstance(one, HubShard) and one.format == "parquet":  # of which only the wanted columns are read
        import pyarrow.parquet as pq

        with one.path.open("rb") as file:
            return list(pq.read_schema(file).names)
    try:
        return list(json.loads(excerpt))
    except ValueError:  # the record is longer than its excerpt
        return []
