"""Sentences about a run, for card and report."""

from collections.abc import Iterator, Sequence

from tokka.recipe.model import Bloom
from tokka.recipe.recipe import Recipe
from tokka.recipe.sizes import format_size
from tokka.recipe.training import Schedule
from tokka.release.figures import count, duration, rate, size
from tokka.release.hub import public_name
from tokka.release.languages import language_name, language_names
from tokka.release.record import RunRecord


def kind_in_words(record: RunRecord) -> str:
    """Return what the model is: ``34.2B parameter decoder-only transformer``."""
    parameters = record.facts("training").get("parameters")
    measured = f"{count(parameters)} parameter " if parameters else ""
    return f"{measured}decoder-only transformer"


def architecture_in_words(recipe: Recipe) -> str:
    """Return what the architecture has that others have not."""
    if isinstance(recipe.model, Bloom):
        return (
            "It uses the BLOOM architecture: ALiBi, which allows for inputs longer than those of training, "
            "LayerNorm after the embedding, GELU, biases, and one embedding for input and output."
        )
    scaling = " scaled as in Llama 3.1" if recipe.model.rope_scaling else ""
    return (
        f"It uses the Llama architecture: rotary position embeddings{scaling}, grouped-query attention, "
        "SwiGLU and RMSNorm, and no biases."
    )


def languages_in_words(recipe: Recipe) -> str:
    """Return what the model was trained on: ``Finnish, English and code``."""
    return listed([name for language in recipe.languages for name in language_names(language)])


def training_in_words(record: RunRecord, *, is_latest: bool) -> Iterator[str]:
    """Yield sentences: on what the model was trained, in which layout, and how fast."""
    training, facts = record.recipe.training, record.facts("training")
    layout = training.layout
    parts = {"TP": layout.tensor, "PP": layout.pipeline, "CP": layout.context, "DP": layout.data}
    shown = ", ".join(f"{name}={size}" for name, size in parts.items())
    ranks = f"a world size of {layout.ranks} ({shown})" if layout.ranks > 1 else "one process"
    recomputed = "activation checkpointing, " if training.activation_checkpointing == "full" else ""
    where = f" on {facts['machine']['name']}" if "machine" in facts else ""
    yield (
        f"Training ran{where} with {ranks}, {recomputed}a micro batch of {training.micro_batch} and "
        f"gradient accumulation of {training.accumulation}."
    )
    if is_latest and "tokens_per_second" in facts:
        used = f", {facts['mfu_percent']}% of the peak FLOP/s" if facts.get("mfu_percent") else ""
        yield (
            f"It took {duration(facts['seconds'])}, at a median of {count(facts['tokens_per_second'])} "
            f"tokens per second{used}."
        )
    if is_latest and facts.get("skipped_steps"):
        yield f"Steps skipped, as their loss or gradient was out of bounds: {facts['skipped_steps']}."


def schedule_in_words(schedule: Schedule) -> str:
    """Return the course of the learning rate: ``10B tokens warm-up, cosine decay to 2e-5``."""
    parts = [f"{format_size(schedule.warmup)} tokens warm-up"] if schedule.warmup else []
    decay = format_size(schedule.decay) if schedule.decay else ""
    match schedule.shape:
        case "constant":
            parts.append("constant")
        case "wsd":
            parts.append(f"constant, linear decay to {rate(schedule.min_lr)} over the last {decay} tokens")
        case shape:
            until = f" at {decay} tokens" if decay else ""
            parts.append(f"{shape} decay to {rate(schedule.min_lr)}{until}")
    return ", ".join(parts)


def tokenizer_in_words(record: RunRecord) -> str:
    """Return how the tokenizer was made."""
    section, facts = record.recipe.tokenizer, record.facts("tokenizer")
    entries = f" of {facts['vocab_size']:,} entries" if "vocab_size" in facts else ""
    if section.extend is not None and "added" in facts:
        new = listed([language_name(language) for language in section.extend.languages])
        return (
            f"The tokenizer{entries} is that of {public_name(str(section.load))} with {facts['added']:,} "
            f"tokens added for {new}; the tokens that it had keep their ids."
        )
    if section.load is not None:
        return f"The tokenizer{entries} is that of {public_name(section.load)}."
    assert section.train is not None
    pattern = {"bloom": "BLOOM", "llama3": "Llama 3"}[section.train.pattern]
    made = f"A custom byte-level BPE tokenizer{entries}, which cuts text by the pattern of {pattern}"
    drawn = {
        language_name(language): size(sample["bytes"]) for language, sample in facts.get("sample", {}).items()
    }
    if not drawn:
        return f"{made}."
    amounts = listed([f"{amount} of {language}" for language, amount in drawn.items()])
    return f"{made}, trained on a sample of the documents that the model was trained on: {amounts}."


def corpus_in_words(record: RunRecord) -> Iterator[str]:
    """Yield what became of documents that were held out and of records that were rejected, if any were."""
    corpora = [record.facts(f"corpus/{name}") for name in record.recipe.sources]
    if any(corpus["heldout"]["documents"] for corpus in corpora if corpus):
        yield "Documents that were held out, chosen by a hash of their content, were never trained on."
    if any(sum(corpus["rejected"].values()) for corpus in corpora if corpus):
        yield "Records that could not be read as text were rejected and kept aside, each with its reason."


def listed(names: Sequence[str]) -> str:
    """Return names as prose lists them: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = dict.fromkeys(names)
    return f"{', '.join(first)} and {last}" if first else last
