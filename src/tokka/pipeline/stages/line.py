"""The stages of a run, in order.

corpus/<source> -> tokenizer -> tokens/<source> -> mixture -> training -> evaluation -> release -> report;
signatures/<source>, duplicates and documents/<source> after corpus where documents are taken out;
fertility beside tokens, and before evaluation the merge with the base where the recipe asks for it.
"""

from tokka.pipeline.stage import Stage
from tokka.pipeline.stages.corpus import corpus_stage
from tokka.pipeline.stages.documents import documents_stages
from tokka.pipeline.stages.model import evaluation_stage, training_stage
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
        *corpus,
        *documents_stages(recipe),
        tokenizer,
        fertility_stage(recipe),
        *tokens,
        mixture_stage(recipe, tuple(stage.name for stage in tokens)),
        training_stage(recipe),
        *([merge_stage(recipe)] if recipe.release.merge else []),
        evaluation_stage(recipe),
        release_stage(recipe),
        report_stage(recipe),
    ]
