"""What the items of tasks say, through lm-evaluation-harness itself."""

from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness (the extra `eval`)")

from tokka.data.dedup.benchmark import Index
from tokka.data.dedup.decontaminate import search
from tokka.evaluation.items import items_of
from tokka.recipe.evaluation import Task

FILLER = "Lumi peitti vaaran ja suon. Järven jää oli paksua, ja kodassa paloi tuli. " * 3


def own(folder: Path, name: str, rows: str, yaml: str):
    (folder / "rows.jsonl").write_text(rows, encoding="utf-8")
    data = "dataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\n"
    (folder / f"{name}.yaml").write_text(f"task: {name}\n{data}{yaml}", encoding="utf-8")
    return items_of([Task(name=name, path=folder.name)], folder.parent)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tasks").mkdir()
    return tmp_path / "tasks"


def held_by(text, items):
    return [find.item for find in search([text], Index(items))]


def test_all_items_of_every_member_of_a_group_are_there_once_whatever_the_limit(task_folder):
    tasks = [
        Task(name=name, path=str(task_folder), limit=limit)
        for name, limit in (("sums", 2), ("sums_written", None), ("lines", 1))
    ]
    items = items_of(tasks, Path())
    counts = {task: [item.item for item in items if item.task == task] for task in {i.task for i in items}}
    assert counts.keys() == {"sums_choice", "sums_written", "lines"}
    assert counts["sums_choice"] == counts["sums_written"] == list(range(14))
    assert len(counts["lines"]) >= 5
    written = next(item for item in items if item.task == "sums_written")
    assert "Kuinka monta poroa on 2 + 3 poroa?" in written.texts
    assert "Kuinka monta poroa on 2 + 3 poroa? 2 + 3 = 5\n" in written.texts
    assert all(item.texts for item in items)


def test_every_item_is_found_by_its_question_its_prompt_or_its_long_answer(folder):
    rows = "".join(
        f'{{"id": "q{n}", "question": "Mistä {n} poroa löytyi {n + 3} päivän etsinnän jälkeen?", '
        f'"answer": "Ne {n} löytyivät laavulta, jonka {n + 7} metsuria oli rakentanut edellisenä kesänä."}}\n'
        for n in range(30)
    )
    yaml = (
        'output_type: generate_until\ndoc_to_text: "Kysymys: {{question}} Vastaus:"\ndoc_to_target: answer\n'
    )
    items = own(folder, "etsintä", rows, yaml)
    for text in (
        "MISTÄ 4 poroa\nlöytyi 7 päivän etsinnän... jälkeen",
        "Kysymys\nMistä 4 poroa löytyi 7 päivän etsinnän jälkeen\nVastaus",
        "ne 4 löytyivät laavulta jonka 11 metsuria oli rakentanut edellisenä kesänä",
    ):
        assert held_by(FILLER + text + FILLER, items) == [4]
    assert held_by(FILLER + "q4" + FILLER, items) == []


def test_an_instruction_that_many_items_share_is_none_of_them(folder):
    instruction = "Lue seuraava kysymys huolellisesti ja valitse sen jälkeen paras vaihtoehto."
    rows = "".join(
        f'{{"instruction": "{instruction}", '
        f'"question": "Montako jalkaa on {n} porolla ja {n + 1} hiihtäjällä?"}}\n'
        for n in range(40)
    )
    yaml = (
        'output_type: multiple_choice\ndoc_to_text: "{{instruction}} {{question}}"\n'
        'doc_to_choice: ["yksi", "kaksi"]\ndoc_to_target: 1\n'
    )
    items = own(folder, "jalat", rows, yaml)
    assert held_by(FILLER + instruction + FILLER, items) == []
    assert held_by(FILLER + "montako jalkaa on 7 porolla ja 8 hiihtäjällä" + FILLER, items) == [7]


def test_a_passage_gives_all_its_questions_away(folder):
    passage = "Inarinjärven pinta nousi keväällä nopeasti, kun lumet sulivat tunturien rinteiltä yhtä aikaa."
    rows = "".join(f'{{"passage": "{passage}", "question": "Miksi {n}?"}}\n' for n in range(3))
    yaml = (
        'output_type: multiple_choice\ndoc_to_text: "{{passage}} Kysymys: {{question}}"\n'
        'doc_to_choice: ["lumi", "sade"]\ndoc_to_target: 0\n'
    )
    items = own(folder, "luettu", rows, yaml)
    assert sorted(held_by(FILLER + passage + FILLER, items)) == [0, 1, 2]


def test_contexts_that_stand_in_for_a_prompt_are_looked_for(folder):
    rows = '{"contexts": ["Poro ei mahtunut kotaan, koska poro", "Poro ei mahtunut kotaan, koska kota"]}\n'
    yaml = (
        "output_type: multiple_choice\ndoc_to_text: !function own.text\ndoc_to_choice: contexts\n"
        'doc_to_target: "oli liian suuri"\n'
    )
    (folder / "own.py").write_text("def text(document):\n    return 0\n")
    items = own(folder, "kota", rows, yaml)
    assert held_by(FILLER + "poro ei mahtunut kotaan koska poro oli liian suuri" + FILLER, items) == [0]


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere", "no task or group has this name"), ("broken", "concatenate")],
)
def test_a_task_whose_items_cannot_be_had_is_refused_by_name(folder, name, message):
    yaml = "output_type: generate_until\ndoc_to_text: !function own.text\ndoc_to_target: question\n"
    (folder / "own.py").write_text("def text(document):\n    return document['question'] + 1\n")
    (folder / "rows.jsonl").write_text('{"question": "Miksi?"}\n')
    data = "dataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\n"
    (folder / "broken.yaml").write_text(f"task: broken\n{data}{yaml}")
    with pytest.raises(
        ValueError, match=f"(?s)items of {name} cannot be had .*{message}.*decontaminate: false"
    ):
        items_of([Task(name=name, path="tasks")], folder.parent)
