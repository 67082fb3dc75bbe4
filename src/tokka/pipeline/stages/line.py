"""The stages of a run, in order.

corpus/<source> -> tokenizer -> tokens/<source> -> mixture -> training -> evaluation -> release -> report;
where documents are taken out, benchmarks before corpus, and contamination/<source>, signatures/<source>,
duplicates and documents/<source> after it;
fertility beside tokens; where the recipe asks for them, vocabulary before training and merge after it.
"""

from tokka.pipeline.stage import Stage
from tokka.pipeline.stages.base import base_stage
from tokka.pipeline.stages.corpus import corpus_stage
from tokka.pipeline.stages.documents import benchmarks_stage, documents_stages
from tokka.pipeline.stages.model import evaluation_stage, training_stage, vocabulary_stage
from tokka.pipeline.stages.release import merge_stage, release_stage, report_stage
from tokka.pipeline.stages.tokenizer import fertility_stage, tokenizer_stage
from tokka.pipeline.stages.tokens import mixture_stage, tokens_stage
from tokka.recipe.recipe import Recipe


def stages_of(recipe: Recipe) -> list[Stage]:
    """Return the stages of ``recipe`` in the order in which they run."""
    corpus = [corpus_stage(recipe, source) for source in recipe.sources]
    tokenizer = tokenizer_stage(recipe)
    tokens = [tokens_stage(recipe, source) for source in recipe.sources]
    return [
        *([benchmarks_stage(recipe)] if recipe.decontaminates else []),
        *corpus,
        *documents_stages(recipe),
        tokenizer,
        fertility_stage(recipe),
        *tokens,
        mixture_stage(recipe, tuple(stage.name for stage in tokens)),
        *([vocabulary_stage(recipe)] if recipe.tokenizer.extend else []),
        *([base_stage(recipe)] if recipe.model.base else []),
        training_stage(recipe),
        *([merge_stage(recipe)] if recipe.release.merge else []),
        evaluation_stage(recipe),
        release_stage(recipe),
        report_stage(recipe),
    ]
