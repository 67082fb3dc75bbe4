import os
import socket
import sysconfig
from pathlib import Path

import pytest

from tokka.data.sources.files import SourceError, find_files
from tokka.recipe.sources import Source


def source(path, **more):
    return Source(path=path, language="fi", **more)


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def names(found):
    return [file.name for file in found]


def test_a_folder_is_searched_for_known_suffixes_in_order_hidden_files_left_out(tmp_path):
    write(
        tmp_path,
        "c/b.txt",
        "c/a/z.jsonl.gz",
        "c/a.parquet",
        "c/image.png",
        "c/.git/x.txt",
        "c/.y.txt",
        "c/d.MD.zst",
    )
    found = find_files(source("c"), tmp_path)
    assert names(found) == ["c/a.parquet", "c/a/z.jsonl.gz", "c/b.txt", "c/d.MD.zst"]
    assert [file.format for file in found] == ["parquet", "jsonl", "text", "text"]


def test_a_stated_format_narrows_what_a_folder_is_searched_for(tmp_path):
    write(tmp_path, "c/a.txt", "c/b.jsonl")
    assert names(find_files(source("c", format="jsonl"), tmp_path)) == ["c/b.jsonl"]


def test_patterns_keep_their_order_globs_are_sorted_and_a_file_is_read_once(tmp_path):
    write(tmp_path, "b1.txt", "b2.txt", "a.txt", "deep/er/c.txt")
    found = find_files(source(["b*.txt", "a.txt", "*.txt", "./b1.txt", "**/c.txt"]), tmp_path)
    assert names(found) == ["b1.txt", "b2.txt", "a.txt", "deep/er/c.txt"]


def test_paths_begin_at_the_recipes_folder_or_are_absolute(tmp_path):
    write(tmp_path, "data/a.txt", "data[1].txt")
    recipe = tmp_path / "recipes"
    recipe.mkdir()
    assert names(find_files(source("../data/a.txt"), recipe)) == ["../data/a.txt"]
    assert names(find_files(source(str(tmp_path / "data" / "*.txt")), recipe)) == [f"{tmp_path}/data/a.txt"]
    assert names(find_files(source("data[1].txt"), tmp_path)) == ["data[1].txt"]


def test_the_standard_library_is_a_variable_and_does_not_include_installed_packages():
    found = find_files(source("{stdlib}/**/*.py"), Path("/nowhere"))
    assert "{stdlib}/json/decoder.py" in names(found)
    assert not [name for name in names(found) if "site-packages" in name]
    stdlib = Path(sysconfig.get_path("stdlib"))
    assert all(file.path == stdlib / file.name.removeprefix("{stdlib}/") for file in found)
    assert set(names(find_files(source("{stdlib}/json"), Path("/nowhere")))) <= set(names(found))


def test_the_demo_corpus_is_a_variable():
    found = find_files(source("{demo}", format="jsonl"), Path("/nowhere"))
    assert found
    assert all(name.startswith("{demo}/") for name in names(found))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nothing/*.jsonl", "path: 'nothing/.*matches no file below"),
        ("missing.txt", "path: 'missing.txt' matches no file"),
        ("{stdlib}/nothing.py", "path: '{stdlib}/nothing.py' matches no file"),
        ("empty", "path: 'empty' holds no file that ends in one of .jsonl"),
        ("odd.xyz", "format: the name of 'odd.xyz' does not tell"),
        ("half.bin", "path: 'half.bin' is one half of a Megatron pair; half.idx is not beside it"),
    ],
)
def test_a_path_that_cannot_be_read_is_an_error_that_begins_with_the_key(tmp_path, path, says):
    write(tmp_path, "odd.xyz", "half.bin", "empty/image.png")
    with pytest.raises(SourceError, match=says):
        find_files(source(path), tmp_path)


def test_a_megatron_pair_is_found_by_prefix_by_either_half_and_in_a_folder(tmp_path):
    write(tmp_path, "t/a.bin", "t/a.idx")
    for path in ("t/a", "t/a.bin", "t/a.idx", "t"):
        assert names(find_files(source(path, tokenizer="org/name"), tmp_path)) == ["t/a.idx"]
    with pytest.raises(SourceError, match=r"tokenizer: 't/a\.idx' holds token ids"):
        find_files(source("t/a"), tmp_path)


def test_pipes_and_sockets_in_a_folder_are_no_files_of_it(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    os.mkfifo(tmp_path / "b.jsonl")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "c.jsonl"))
        found = find_files(Source(path=".", language="fi"), tmp_path)
    assert [file.name for file in found] == ["a.jsonl"]
    (tmp_path / "d.jsonl").symlink_to("nowhere")
    with pytest.raises(SourceError, match=r"d.jsonl"):
        find_files(Source(path=".", language="fi"), tmp_path)
