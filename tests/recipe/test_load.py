"""Reading recipes: what is wrong is named with its key, its line and the remedy, all of it at once."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workshop import REPOSITORY

from tokka.recipe.load import RecipeError, load_recipe
from tokka.recipe.plain_yaml import format_yaml, parse_yaml

SMALL = """\
name: small
sources:
  finnish:
    path: texts
    language: fi
  english:
    hub: {id: HuggingFaceFW/fineweb}
    language: en
mixture:
  finnish: {epochs: 4}
  english: {rest: true}
tokenizer:
  train:
    vocab_size: 8192
model:
  architecture: llama
  n_layers: 4
  n_heads: 4
  n_kv_heads: 2
  d_model: 128
  d_ffn: 384
  vocab_size: 8192
training:
  tokens: 10M
  sequence_length: 512
  batch_tokens: 8192
  optimizer: {lr: 1e-3}
release:
  repo: my-org/small
"""


def _load(folder, text, *overrides):
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return load_recipe(path, overrides)


def _problems(folder, text, *overrides):
    with pytest.raises(RecipeError) as raised:
        _load(folder, text, *overrides)
    return raised.value.problems


def test_a_recipe_is_read_with_its_sizes_and_defaults(tmp_path):
    recipe = _load(tmp_path, SMALL)
    assert recipe.sources["finnish"].path == ["texts"]
    assert recipe.languages == ["fi", "en"]
    assert (recipe.training.tokens, recipe.training.batch_sequences) == (10_000_000, 16)
    assert recipe.training.optimizer.betas == (0.9, 0.95)
    assert recipe.training.optimizer.lr == 1e-3


WRONG = {
    # keys
    ("n_layers: 4", "n_layer: 4"): "line 17, model.n_layer: unknown key; did you mean `n_layers`?",
    ("n_layers: 4", ""): "line 15, model.n_layers: missing; state it (Transformer blocks)",
    ("training:", "trainig:"): "line 23, trainig: unknown key; did you mean `training`?",
    ("\ntraining:", "\nx:"): "training: missing; state it (Budget, batches, optimizer",
    ("path: texts", "path: texts\n    a: b"): "line 5, sources.finnish.a: unknown key; known keys: path, hub",
    ("epochs: 4", "epoch: 4"): "line 10, mixture.finnish.epoch: unknown key; did you mean `epochs`?",
    ("lr: 1e-3", "lr: 1e-3, lr: 2"): "line 27, training.optimizer.lr: stated twice; remove one",
    ("  finnish:\n    p", "  1:\n    p"): 'line 3, sources: the key 1 is no text; write it in quotes: "1"',
    ("  finnish:\n    p", "  ../up:\n    p"): "line 3, sources.../up: is no name that can be used here",
    ("name: small", "name: my model"): "line 1, name: has another form (Name of the run: letters, digits",
    ("my-org/small", "small"): "line 29, release.repo: has another form (Where it is to live on the hub",
    ("my-org/small", "../.."): "release.repo: has another form",
    # types
    ("language: fi", "language: 7"): "sources.finnish.language: should be a valid string (Language code",
    ("language: en", "language: 7"): "found 7; put it in quotes",
    (
        "n_layers: 4",
        "n_layers: four",
    ): "line 17, model.n_layers: should be a valid integer (Transformer blocks)",
    ("n_layers: 4", "n_layers: true"): "should be a valid integer (Transformer blocks); found True",
    ("n_layers: 4", "n_layers: 0"): "model.n_layers: should be greater than 0 (Transformer blocks); found 0",
    ("lr: 1e-3", "lr: -1"): "training.optimizer.lr: should be greater than 0 (Peak learning rate); found -1",
    ("{epochs: 4}", "{epochs: .nan}"): "mixture.finnish.epochs: should be a valid number",
    ("{epochs: 4}", "4"): "line 10, mixture.finnish: should be a section of keys with values; found 4",
    ("{lr: 1e-3}", "1e-3"): "training.optimizer: should be a section of keys with values (AdamW",
    ("path: texts", "path: []"): "sources.finnish.path: list should have at least 1 item",
    ("path: texts", "path: {a: b}"): "sources.finnish.path: should be a valid list",
    (
        "tokens: 10M",
        "tokens: lots",
    ): "line 24, training.tokens: 'lots' is not a size; write for example 4194304",
    ("{lr: 1e-3}", "{lr: 1, betas: [0.9, 1]}"): "training.optimizer.betas.1: should be less than 1",
    ("tokens: 10M", "compile: perhaps"): "training.compile: should be a valid boolean",
    (
        "  train:\n",
        "  train:\n    sample: even\n",
    ): "tokenizer.train.sample: should be 'uniform' or should be a",
    # what does not fit together
    ("path: texts", "path: a\n    hub: {id: x}"): "line 3, sources.finnish: give either `path` or `hub`",
    ("path: texts", "path: a\n    template: '{a'"): "sources.finnish.template: '{a' is not a template",
    ("{epochs: 4}", "{epochs: 4, percent: 5}"): "mixture.finnish: give exactly one of `percent`, `epochs`",
    (
        "{epochs: 4}",
        "{}",
    ): "line 10, mixture.finnish: give exactly one of `percent`, `epochs`, `tokens`, `rest`",
    ("  finnish: {e", "  suomi: {e"): "line 9, mixture: suomi is not among the sources finnish, english",
    ("  finnish: {epochs: 4}\n", ""): "line 2, sources: finnish has no share in the mixture; give it one or",
    ("  train:\n", "  load: gpt2\n  train:\n"): "line 12, tokenizer: give either `train` or `load`",
    ("8192\nm", "16K\nm"): "line 22, model.vocab_size: 8192 is smaller than tokenizer.train.vocab_size 16000",
    ("  train:\n", "  train:\n    bos: <b>\n"): "tokenizer.train: `bos: <b>` is not among `special_tokens`",
    (
        "  train:\n",
        "  train:\n    sample: {sv: 1}\n",
    ): "tokenizer.train.sample: weighs sv, which no source has",
    (
        ": llama",
        ": gpt",
    ): "line 16, model.architecture: no such architecture 'gpt'; there are `llama` and `bloom`",
    ("  architecture: llama\n", ""): "line 15, model.architecture: missing; state `llama` or `bloom`",
    (": llama", ": bloom"): "line 19, model.n_kv_heads: unknown key",
    ("d_model: 128", "d_model: 130"): "line 20, model.d_model: 130 is not a multiple of n_heads 4",
    ("n_kv_heads: 2", "n_kv_heads: 3"): "line 18, model.n_heads: 4 is not a multiple of n_kv_heads 3",
    ("d_model: 128", "d_model: 12"): "line 15, model: a head of 3 cannot be rotated in pairs; make it even",
    (
        "d_ffn: 384",
        "d_ffn: 384\n  max_sequence_length: 256",
    ): "training.sequence_length: 512 exceeds model.max_",
    ("batch_tokens: 8192", "batch_tokens: 8000"): "line 26, training.batch_tokens: 8000 is not a multiple of",
    ("_tokens: 8192", "_tokens: 8000"): "is not a multiple of `sequence_length` 512; make it 7680 or 8192",
    ("batch_tokens: 8192", "batch_tokens: 8"): "make it 512",
    (
        "tokens: 10M",
        "micro_batch: 3",
    ): "does not divide into micro batches of 3 on 1 data ranks; make `batch_tokens`",
    (
        "tokens: 10M",
        "tokens: 10M\n  schedule: {warmup: 1B}",
    ): "training.schedule.warmup: 1000000000 is longer than",
    (
        "tokens: 10M",
        "tokens: 10M\n  schedule: {min_lr: 1}",
    ): "training.schedule.min_lr: 1 exceeds optimizer.lr",
    ("tokens: 10M", "schedule: {shape: wsd}"): "line 24, training.schedule: `shape: wsd` needs `decay`",
    (
        "tokens: 10M",
        "tokens: 10M\n  checkpoints: {milestones: 11M}",
    ): "training.checkpoints.milestones: 11000000 is longer than the budget",
    ("tokens: 10M", "tokens: 10M\n  limits: {hang_minutes: 0}"): "training.limits.hang_minutes: should be",
    # layouts
    (
        "tokens: 10M",
        "layout: {tensor: 3}",
    ): "training.layout.tensor: 3 does not divide model.n_heads 4; use one of",
    (
        "tokens: 10M",
        "layout: {tensor: 4}",
    ): "line 24, training.layout.tensor: 4 does not divide model.n_kv_heads 2",
    ("tokens: 10M", "layout: {pipeline: 5}"): "training.layout.pipeline: 5 exceeds model.n_layers 4; a stage",
    (
        "tokens: 10M",
        "layout: {context: 3}",
    ): "training.layout.context: 3 does not divide training.sequence_length",
    ("tokens: 10M", "layout: {data: 3}"): "does not divide into micro batches of 1 on 3 data ranks",
    (
        "tokens: 10M",
        "layout: {data: 2, shard: 3}",
    ): "training.layout.shard: 3 does not divide `data` times `context`, 2",
    ("tokens: 10M", "layout: {stages_per_rank: 2}"): "are of a pipeline, and `pipeline` is 1",
    ("tokens: 10M", "layout: {pipeline: 2, stages_per_rank: 2}"): "`schedule: 1f1b` has one stage a rank",
    (
        "tokens: 10M",
        "compile: true\n  layout: {pipeline: 2, schedule: zero_bubble}",
    ): "which compiled blocks do not allow; set `compile: false`",
    (
        "tokens: 10M",
        "activation_checkpointing: selective\n  layout: {pipeline: 2, schedule: zero_bubble}",
    ): "selective` does not allow; use `full` or `none`",
    (
        "batch_tokens: 8192",
        "batch_tokens: 512\n  layout: {pipeline: 2}",
    ): "1 micro batches a data rank, fewer",
    (
        "batch_tokens: 8192",
        "batch_tokens: 2560\n  layout: {pipeline: 2, schedule: zero_bubble}",
    ): "5 a step do not divide into 2 equal rounds",
    ("tokens: 10M", "layout: {pipeline: 2, schedule: interleaved}"): "needs `stages_per_rank` of 2 or more",
    (
        "tokens: 10M",
        "layout: {pipeline: 2, schedule: interleaved, stages_per_rank: 3}",
    ): "training.layout.pipeline: 2 times stages_per_rank 3 exceeds model.n_layers 4",
}


@pytest.mark.parametrize(("change", "expected"), WRONG.items(), ids=[instead for _, instead in WRONG])
def test_what_is_wrong_is_named_with_key_line_and_remedy(tmp_path, change, expected):
    written, instead = change
    assert SMALL.count(written) == 1
    problems = _problems(tmp_path, SMALL.replace(written, instead))
    assert any(expected in str(problem) for problem in problems), "\n".join(map(str, problems))


def test_everything_wrong_is_named_at_once(tmp_path):
    text = (
        SMALL.replace("n_layers: 4", "n_layers: none")
        .replace("lr: 1e-3", "rl: 1e-3")
        .replace("path:", "pfad:")
    )
    keys = {problem.key for problem in _problems(tmp_path, text)}
    assert keys >= {
        "model.n_layers",
        "training.optimizer.lr",
        "training.optimizer.rl",
        "sources.finnish.pfad",
    }


def test_a_source_named_like_an_architecture_keeps_its_name_in_errors(tmp_path):
    problems = _problems(tmp_path, SMALL.replace("finnish:", "llama:").replace("path: texts", "path: 3"))
    assert [problem.key for problem in problems] == ["sources.llama.path"]


def test_each_key_is_named_once_though_pydantic_tries_every_member_of_a_union(tmp_path):
    text = SMALL.replace("vocab_size: 8192\nm", "vocab_size: 8192\n    sample: {fi: -1}\nm")
    assert [problem.key for problem in _problems(tmp_path, text)] == ["tokenizer.train.sample.fi"]


def test_a_file_with_very_many_flaws_names_the_first(tmp_path):
    text = SMALL + "".join(f"wrong{i}: 1\n" for i in range(10_000))
    assert len(_problems(tmp_path, text)) == 50


def test_a_wrong_value_is_not_printed_at_length(tmp_path):
    assert len(str(_problems(tmp_path, SMALL.replace("texts", "[[" + "x" * 100_000 + "]]"))[0])) < 300


# Files


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "a recipe is a mapping of sections; `tokka new` writes one"),
        (b"- a\n- b\n", "a recipe is a mapping of sections"),
        (b"\xff\xfename", "not UTF-8 (invalid start byte at byte 0); save the file as UTF-8"),
        (b"PK\x03\x04", "line 1, not valid YAML: a character that text files do not hold, U+0003"),
        (b"name: x\nname: y\n", "line 2, name: stated twice; remove one"),
        (b"name: &n x\nrelease: *n\n", "line 2, not valid YAML: aliases (*name) are not used in recipes"),
        (b"name: [x\n", "line 2, not valid YAML: expected ',' or ']'"),
        (b"[" * 100_000, "nested too deeply to be a recipe"),
        (b"a: " * 2**19, "larger than 1 MiB; a recipe is a short text in YAML"),
    ],
    ids=["empty", "list", "utf-16", "zip", "twice", "alias", "open", "deep", "huge"],
)
def test_what_is_no_recipe_is_refused(tmp_path, content, expected):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    (problem,) = raised.value.problems
    assert expected in str(problem)
    assert str(raised.value).startswith(f"{path} is not a valid recipe:\n  - ")


@pytest.mark.parametrize(
    ("path", "why"), [("missing.yaml", "No such file"), (".", "Is a directory"), ("a\0b", "null byte")]
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, path, why):
    with pytest.raises(RecipeError, match=why) as raised:
        load_recipe(f"{tmp_path}/{path}")
    assert "give the path of a recipe in YAML" in str(raised.value)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load_recipe(path) == _load(tmp_path, SMALL)


# Overrides


def test_overrides_replace_add_and_remove(tmp_path):
    recipe = _load(
        tmp_path,
        SMALL,
        "training.tokens=2M",
        "training.checkpoints.revisions=200K",
        "training.optimizer.clip=null",
        "sources.finnish.path=[a, b]",
        "mixture.finnish={percent: 30}",
        "release.title='No: 5'",
        "seed=7",
        "seed=8",
    )
    assert recipe.training.tokens == 2_000_000
    assert recipe.training.checkpoints.revisions == 200_000
    assert recipe.training.optimizer.clip is None
    assert recipe.sources["finnish"].path == ["a", "b"]
    assert recipe.mixture["finnish"].percent == 30
    assert recipe.release.title == "No: 5"
    assert recipe.seed == 8


def test_an_override_may_leave_out_what_the_file_states(tmp_path):
    assert (
        _load(tmp_path, SMALL, "training.tokens=null", "mixture.english={tokens: 1M}").training.tokens is None
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.tokens", "--set training.tokens: write key.path=value"),
        ("=3", "--set =3: write key.path=value"),
        ("training..tokens=3", "--set training..tokens=3: write key.path=value"),
        ("seed=[", "--set seed: '[' is not valid YAML"),
        ("seed=*x", "aliases (*name) are not used"),
        ("name.x=3", "--set name.x: `name` is a value and no section; set it as a whole"),
        ("training.optimizer.lr.x=3", "`lr` is a value and no section"),
        ("sources.finnish.path.0=a", "`path` is a value and no section; set it as a whole"),
        ("training.tokns=3", "training.tokns: unknown key; did you mean `tokens`? (from --set)"),
        ("training.optimizer={}", "optimizer.lr: missing; state it (Peak learning rate) (from --set)"),
        ("seed=many", "seed: should be a valid integer"),
        ("training.layout.tensor=3", "does not divide model.n_heads 4; use one of 1, 2, 4 (from --set)"),
        ("training=", "training: should be a section of keys"),
    ],
)
def test_a_bad_override_is_named_as_such(tmp_path, override, expected):
    (problem,) = _problems(tmp_path, SMALL, override)
    assert expected in str(problem)
    assert problem.line is None


# Whatever is in a file, what comes out is a recipe or a RecipeError

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["1T", "8K", "uniform", "llama", "bloom", "{a}", "../x", "0", "-1", "1e99", "auto", "wsd"]
    )
)
_KEYS = st.sampled_from(["path", "hub", "id", "percent", "rest", "lr", "fi"]) | st.text(max_size=5)
_TREES = st.recursive(
    _SCALARS,
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(["path", "hub", "id", "percent", "rest", "lr", "fi"]) | st.text(max_size=5),
            inside,
            max_size=3,
        )
    ),
    max_leaves=8,
)
_RECIPES = [
    parse_yaml(SMALL)[0],
    *(parse_yaml(p.read_text())[0] for p in sorted(REPOSITORY.glob("recipes/*.yaml"))),
]


def _paths(tree, at=()):
    yield at
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _paths(value, (*at, key))


@st.composite
def _damaged(draw):
    """A recipe with a few values replaced, added or removed."""
    tree = copy.deepcopy(draw(st.sampled_from(_RECIPES)))
    for _ in range(draw(st.integers(1, 4))):
        *above, last = draw(st.sampled_from([path for path in _paths(tree) if path] or [("name",)]))
        section = tree
        for key in above:
            section = section[key]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                section[last] = draw(_TREES)
            case "remove" if last in section or isinstance(section, list):
                del section[last]
            case "add" if isinstance(section, dict):
                section[draw(st.text(max_size=5))] = draw(_TREES)
    return tree


def _load_or_problems(path, *overrides):
    try:
        load_recipe(path, overrides)
    except RecipeError as error:
        str(error).encode(errors="surrogateescape")  # it can be printed
        return error.problems
    return None


def _is_loaded_or_refused(path, *overrides):
    problems = _load_or_problems(path, *overrides)
    assert problems is None or (problems and all(problem.message for problem in problems))


_FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_FUZZ
@given(tree=_damaged())
def test_damaged_recipes_are_loaded_or_refused(tmp_path, tree):
    path = tmp_path / "recipe.yaml"
    path.write_text(format_yaml(tree), encoding="utf-8")
    _is_loaded_or_refused(path)


@_FUZZ
@given(tree=_TREES)
def test_any_tree_is_refused(tmp_path, tree):
    path = tmp_path / "recipe.yaml"
    path.write_text(format_yaml(tree), encoding="utf-8")
    with pytest.raises(RecipeError):
        load_recipe(path)


@_FUZZ
@given(content=st.binary(max_size=200), at=st.integers(0, len(SMALL)), length=st.integers(0, 40))
def test_random_bytes_in_a_recipe_do_no_more_than_refuse_it(tmp_path, content, at, length):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(SMALL[:at].encode() + content + SMALL[at + length :].encode())
    _is_loaded_or_refused(path)


@_FUZZ
@given(
    key=st.sampled_from(["training.tokens", "sources.finnish", "model", "x", ""]), value=st.text(max_size=30)
)
def test_any_override_is_carried_out_or_refused(tmp_path, key, value):
    path = tmp_path / "recipe.yaml"
    path.write_text(SMALL)
    _is_loaded_or_refused(path, f"{key}={value}")
