"""What a run was and measured, as tables for card and report. A figure that no stage stated has no row."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokka.evaluation.compare import Row, compare
from tokka.recipe.sizes import format_size
from tokka.release.figures import count, rate, significant
from tokka.release.hub import public_name
from tokka.release.languages import language_name
from tokka.release.record import RunRecord
from tokka.release.table import Strong, Table
from tokka.release.words import schedule_in_words

_BITS = "bits per byte"
Results = Sequence[Mapping[str, Any]]


def overview_table(record: RunRecord) -> Table:
    """Return the shape of the network."""
    recipe, parameters = record.recipe, record.facts("training").get("parameters")
    shape = recipe.model.model_dump(exclude_none=True)
    rows: list[tuple[object, ...]] = [("n_parameters", count(parameters))] if parameters else []
    keys = ("n_layers", "n_heads", "n_kv_heads", "d_model", "d_ffn", "vocab_size", "max_sequence_length")
    rows += [(key, shape[key]) for key in keys if key in shape]
    rows.append(("sequence_length", recipe.training.sequence_length))
    if recipe.model.base:
        rows.append(("base_model", public_name(recipe.model.base)))
    return Table(("Hyperparameter", "Value"), rows, "lc")


def hyperparameter_table(record: RunRecord) -> Table:
    """Return the settings of training, with what they amount to."""
    training = record.recipe.training
    optimizer, sequences = training.optimizer, training.batch_sequences
    stated = {"bf16": "bfloat16", "fp32": "float32"}[training.precision]
    computed = record.facts("training").get("machine", {}).get("dtype", stated)
    wider = "fp32 master weights and gradient sums" if computed == "bfloat16" else ""
    first, second = optimizer.betas
    rows: list[tuple[object, ...]] = [
        ("Precision", computed, wider),
        ("Optimizer", "AdamW", f"betas {first:g} and {second:g}, epsilon {rate(optimizer.eps)}"),
        ("Learning rate", rate(optimizer.lr), schedule_in_words(training.schedule)),
        ("Weight decay", rate(optimizer.weight_decay), ""),
    ]
    if optimizer.clip is not None:
        rows.append(("Gradient clipping", rate(optimizer.clip), "global norm"))
    batch = f"{sequences} sequences x {training.sequence_length} tokens = {training.batch_tokens} tokens"
    rows += [("Batch size", sequences, batch), ("Micro batch size", training.micro_batch, "")]
    rows.append(("Sequence length", training.sequence_length, "packed documents"))
    if training.within_document:
        rows.append(("Attention", "within a document", ""))
    mixture = record.facts("mixture")
    if mixture:
        rows.append(("Total tokens", format_size(mixture["tokens"]), f"{mixture['steps']} steps"))
    return Table(("Hyperparameter", "Value", "Comment"), rows, "ccc")


def mixture_table(record: RunRecord) -> Table | None:
    """Return the mixture that training was given: percentage, epochs and tokens of each source."""
    mixture = record.facts("mixture")
    if not mixture:
        return None
    rows: list[tuple[object, ...]] = []
    for row in mixture["rows"]:
        notes = record.recipe.sources[row["source"]].notes
        epochs = "" if row["epochs"] is None else f"{significant(row['epochs'])}x"
        rows.append((row["source"], notes, f"{row['percent']:.2f}%", epochs, count(row["tokens"], 4)))
    rows.append((Strong("Total"), "", Strong("100%"), "", Strong(count(mixture["tokens"], 4))))
    return Table(("Dataset", "Notes", "Percentage", "Epochs", "Tokens"), rows, "llrrr")


def parts_table(record: RunRecord) -> Table | None:
    """Return the percentages of the parts of the training; None where the mixture never changes."""
    parts = record.facts("mixture").get("parts", [])
    if len(parts) < 2:
        return None
    percents = [{row["source"]: row["percent"] for row in part["rows"]} for part in parts]
    rows = [
        (name, *(f"{percent[name]:.2f}%" if name in percent else "" for percent in percents))
        for name in record.recipe.mixed
    ]
    begins = [f"from {format_size(part['begin'])} tokens" for part in parts]
    return Table(("Dataset", *begins), rows, "l" + "r" * len(parts))


def realised_table(record: RunRecord, revision: str) -> Table | None:
    """Return what a revision was trained on, beside what was wanted; None where that was not recorded."""
    found = next((each for each in record.realised if each["name"] == revision), None)
    if found is None:
        return None
    rows: list[tuple[object, ...]] = []
    for name, wanted in found["wanted"].items():
        given = found["sources"][name]
        skipped = f"{given['skipped_tokens']:,}" if given["skipped_tokens"] else ""
        shares = f"{100 * wanted / found['tokens']:.2f}%", f"{given['percent']:.2f}%"
        rows.append((name, *shares, f"{significant(given['epochs'])}x", f"{given['tokens']:,}", skipped))
    headings = ("Dataset", "Wanted", "Realised", "Epochs", "Tokens read", "In skipped steps")
    return Table(headings, rows, "lrrrrr")


def deviations_table(record: RunRecord) -> Table | None:
    """Return for each revision how far its mix is from the one wanted; None where that was not recorded."""
    rows = []
    for found in record.realised:
        off = {name: found["sources"][name]["tokens"] - wanted for name, wanted in found["wanted"].items()}
        source = max(off, key=lambda name: abs(off[name]))
        part = 100 * abs(off[source]) / found["tokens"]
        rows.append((found["name"], f"{part:.4f}%", source, f"{off[source]:+,.0f}"))
    headings = ("Revision", "Largest difference", "Dataset", "Tokens")
    return Table(headings, rows, "lrlr") if rows else None


def corpus_table(record: RunRecord) -> Table | None:
    """Return what the sources hold, and how much of it was held out and rejected."""
    rows = []
    for name, source in record.recipe.sources.items():
        corpus, tokens = record.facts(f"corpus/{name}"), record.facts(f"tokens/{name}")
        if corpus:
            left = record.facts(f"{record.recipe.documents}/{name}") or corpus
            rejected, heldout = sum(corpus["rejected"].values()), left["heldout"]["documents"]
            epoch = count(tokens["tokens"], 4) if "tokens" in tokens else ""
            language = language_name(source.language)
            rows.append((name, language, f"{corpus['documents']:,}", f"{heldout:,}", f"{rejected:,}", epoch))
    headings = ("Dataset", "Language", "Documents", "Held out", "Rejected", "Tokens in an epoch")
    return Table(headings, rows, "llrrrr") if rows else None


def rejected_table(record: RunRecord) -> Table | None:
    """Return why records were rejected; None where none was."""
    rows = [
        (name, reason.replace("_", " "), f"{records:,}")
        for name in record.recipe.sources
        for reason, records in record.facts(f"corpus/{name}").get("rejected", {}).items()
        if records
    ]
    return Table(("Dataset", "Reason", "Records rejected"), rows, "llr") if rows else None


def fertility_table(record: RunRecord) -> Table | None:
    """Return what the tokenizer makes of each source; None where that was not measured.

    Of a tokenizer that was extended also what it made of it before, and how many tokens are saved.
    """
    before = {row["source"]: row for row in record.fertility_before}
    rows = [
        (
            row["source"],
            language_name(row["language"]),
            f"{row['tokens_per_word']:.2f}",
            *_fertility_before(row, before),
            f"{row['bytes_per_token']:.2f}",
            "" if row["cost"] is None else f"{row['cost']:.2f}",
        )
        for row in record.fertility
    ]
    added = ("Before", "Tokens saved") if before else ()
    headings = ("Dataset", "Language", "Tokens per word", *added, "Bytes per token", "Cost, English = 1")
    return Table(headings, rows, "ll" + "r" * (len(headings) - 2)) if rows else None


def _fertility_before(row: Mapping[str, Any], before: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if before:
        old = before[row["source"]]
        yield f"{old['tokens_per_word']:.2f}"
        yield f"{100 * (1 - row['tokens'] / old['tokens']):.1f}%"


def bits_table(results: Results) -> Table | None:
    """Return bits per byte by language, a column a revision, the best of each row in bold."""
    return _scores_table("Language", "languages", "bits_per_byte", results, decimals=3)


def source_bits_table(results: Results) -> Table | None:
    """Return bits per byte by source, a column a revision, the best of each row in bold."""
    return _scores_table("Source", "sources", "bits_per_byte", results, decimals=3)


def perplexity_table(results: Results) -> Table | None:
    """Return character perplexity by language, a column a revision, the best of each row in bold."""
    return _scores_table("Language", "languages", "character_perplexity", results, decimals=2)


def task_table(results: Results) -> Table | None:
    """Return the metrics of tasks, a column a revision, the best of each row in bold."""
    rows = [(f"{row.name}: {row.measure}", row) for row in compare(results) if row.measure != _BITS]
    return _results_table("Task", rows, results, decimals=4)


def _scores_table(heading: str, group: str, measure: str, results: Results, *, decimals: int) -> Table | None:
    """Return a figure of held-out text by ``group``: ``languages`` or ``sources``."""
    rows = []
    for name in dict.fromkeys(name for result in results for name in result[group]):
        values = tuple(result[group].get(name, {}).get(measure) for result in results)
        shown = language_name(name) if group == "languages" else name
        rows.append((shown, Row(measure, name, values, lower_is_better=True)))
    return _results_table(heading, rows, results, decimals=decimals)


def _results_table(
    heading: str, rows: Sequence[tuple[str, Row]], results: Results, *, decimals: int
) -> Table | None:
    if not rows:
        return None

    def cell(value: float | None, best: float | None) -> object:
        shown = "-" if value is None else f"{value:.{decimals}f}"
        return Strong(shown) if value is not None and value == best else shown

    lines = [(name, *(cell(value, row.best) for value in row.values)) for name, row in rows]
    headings = (heading, *(str(result["name"]) for result in results))
    return Table(headings, lines, "l" + "r" * len(results))
