"""``tokka generate`` and ``tokka chat`` as a user runs them, the chat on a terminal of its own too."""

import io
import json
import os
import pty
import re
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    BloomForCausalLM,
    PreTrainedTokenizerFast,
)

from tokka.cli.main import main
from tokka.evaluation.conversation import Conversation, Sampling, Writer
from tokka.evaluation.locate import Located

TEXT = "Suomen talvi on pitkä ja pimeä, mutta revontulet valaisevat yön. Poro etsii jäkälää lumen alta."
TOKKA = Path(sys.executable).with_name("tokka")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BLOOM with its tokenizer; greedily it never ends a text."""
    return _make_model(tmp_path_factory.mktemp("model"), layers=2)


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The like of it, which takes most of a minute for as many tokens as it can read."""
    return _make_model(tmp_path_factory.mktemp("slow-model"), layers=16)


def _make_model(folder: Path, *, layers: int) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    torch.manual_seed(5)
    config = BloomConfig(
        vocab_size=320, hidden_size=32, n_layer=layers, n_head=4, initializer_range=0.3, eos_token_id=1
    )
    network = BloomForCausalLM(config)
    with torch.no_grad():
        network.transformer.word_embeddings.weight[:2] = 0  # the logits of <s> and </s>
    network.save_pretrained(folder)
    return folder


@pytest.fixture
def tokka(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs a command; returns its status, its output and what it said beside."""

    def run(*arguments: object, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tokka", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def reference(model: Path, text: str, max_tokens: int) -> str:
    """Return what transformers greedily writes after ``text`` as the beginning of a document."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = [1, *tokenizer(text)["input_ids"]]
    written = AutoModelForCausalLM.from_pretrained(model).generate(
        torch.tensor([ids]), max_new_tokens=max_tokens, do_sample=False, pad_token_id=0
    )
    return str(tokenizer.decode(written[0, len(ids) :]))


def test_generate_greedily_writes_what_transformers_writes(tokka, model: Path) -> None:
    options = ("--max-tokens", 40, "--temperature", 0)
    assert tokka("generate", model, "Suomen", *options) == (0, reference(model, "Suomen", 40) + "\n", "")


def test_generate_reads_a_prompt_from_standard_input(tokka, model: Path) -> None:
    options = ("--max-tokens", 10, "--temperature", 0)
    _, written, _ = tokka("generate", model, "-", *options, typed="Poro etsii\n")
    assert written == reference(model, "Poro etsii", 10) + "\n"


def test_generate_is_the_same_for_a_seed(tokka, model: Path) -> None:
    written = [tokka("generate", model, "Suomen", "--max-tokens", 20, "--seed", seed) for seed in (1, 1, 2)]
    assert written[0] == written[1] != written[2]


def test_generate_ends_before_a_stop_string(tokka, model: Path) -> None:
    whole = reference(model, "Suomen", 40)
    options = ("--max-tokens", 40, "--temperature", 0)
    _, written, _ = tokka("generate", model, "Suomen", *options, "--stop", whole[5:8], "--stop", r"\n")
    assert written == whole[: whole.find(whole[5:8])].split("\n")[0] + "\n"


def test_generate_takes_a_revision_of_a_run(tokka, model: Path, tmp_path: Path) -> None:
    revisions = tmp_path / "training" / "revisions"
    revisions.mkdir(parents=True)
    (revisions / "200K").symlink_to(model)
    (tmp_path / "tokenizer").symlink_to(model)
    options = ("--max-tokens", 10, "--temperature", 0)
    expected = reference(model, "Suomen", 10) + "\n"
    assert tokka("generate", tmp_path, "Suomen", *options)[1] == expected
    assert tokka("generate", tmp_path, "Suomen", *options, "--revision", "200K")[1] == expected
    status, _, error = tokka("generate", tmp_path, "Suomen", "--revision", "1M")
    assert (status, error) == (1, f"tokka: {tmp_path} has no revision '1M'; it has 200K\n")


def test_a_broken_model_is_one_clear_line(tokka, model: Path, tmp_path: Path) -> None:
    def without(name: str, content: bytes | None = None) -> Path:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        for file in model.iterdir():
            if file.name != name:
                (folder / file.name).symlink_to(file)
        if content is not None:
            (folder / name).write_bytes(content)
        return folder

    config = json.loads((model / "config.json").read_text())
    broken = {
        without("config.json"): "config.json",
        without("config.json", b"{"): "config.json is not JSON",
        without("config.json", json.dumps(config | {"model_type": "gpt2"}).encode()): "gpt2",
        without("model.safetensors"): "model.safetensors",
        without("model.safetensors", (model / "model.safetensors").read_bytes()[:-9]): "damaged",
        without("tokenizer.json"): "tokenizer.json",
        without("tokenizer.json", b"{}"): "tokenizer.json",
        tmp_path / "nowhere": "is no folder",
    }
    for folder, reason in broken.items():
        for command in (("generate", folder, "Suomen"), ("chat", folder)):
            status, written, error = tokka(*command)
            assert (status, written) == (1, "")
            assert error.startswith("tokka: ")
            assert reason in error
            assert error.count("\n") == 1


def test_a_prompt_that_is_too_long_is_one_clear_line(tokka, model: Path) -> None:
    status, _, error = tokka("generate", model, "-", typed="ö€" * 8192)
    assert status == 1
    assert re.fullmatch(r"tokka: the text has \d+ tokens, the model reads 8192 at most\n", error)


def test_chat_keeps_up_a_conversation(tokka, model: Path) -> None:
    options = ("--max-tokens", 12, "--temperature", 0)
    status, written, said = tokka(
        "chat", model, *options, typed="Hei!\n\nKuka olet?\n/reset\nHei!\n/quit\nno more\n"
    )
    conversation = Conversation(Writer(Located(model, model)))
    sampling = Sampling(max_tokens=12, temperature=0, top_p=1.0, seed=0)
    first, second = ("".join(conversation.say(said, sampling)) for said in ("Hei!", "Kuka olet?"))
    assert status == 0
    assert first == reference(model, "Hei!", 12) != second
    assert written == f"{first}\n{second}\n{first}\n"
    assert "is a base model without a form of conversation" in said
    assert "A new conversation." in said


def test_chat_ends_with_its_input(tokka, model: Path) -> None:
    status, written, _ = tokka("chat", model, "--max-tokens", 3, "--system", "Olet poro.", typed="Hei!")
    assert status == 0
    assert written.endswith("\n\n")


def test_chat_goes_on_after_a_text_that_is_too_long(tokka, model: Path) -> None:
    typed = "ö€" * 8192 + "\nHei!\n"
    status, written, said = tokka("chat", model, "--max-tokens", 5, "--temperature", 0, typed=typed)
    assert status == 0
    assert "the model reads 8192 at most; /reset begins anew" in said
    assert written.startswith(reference(model, "Hei!", 5))


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, command: Sequence[object]) -> None:
        self.process, self.descriptor = pty.fork()
        if self.process == 0:
            os.execv(str(command[0]), [str(part) for part in command])
        self.shown = ""

    def type(self, keys: str) -> None:
        time.sleep(0.3)  # a prompt is shown just before the line editor takes the terminal over
        os.write(self.descriptor, keys.encode())

    def wait_for(self, pattern: str, seconds: float = 60) -> str:
        """Wait until ``pattern`` is on the screen; return what came before it, and forget all of it."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.shown)):
            ready, _, _ = select.select([self.descriptor], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{pattern!r} did not come in {seconds} s after {self.shown[-500:]!r}"
            self.shown += os.read(self.descriptor, 65536).decode(errors="replace")
        before, self.shown = self.shown[: found.start()], self.shown[found.end() :]
        return before

    def status(self, seconds: float = 20) -> int:
        """Wait for the end and return the exit status."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return os.waitstatus_to_exitcode(status)
            if select.select([self.descriptor], [], [], 0.05)[0]:
                try:
                    os.read(self.descriptor, 65536)
                except OSError:  # the process closed its side
                    time.sleep(0.05)
        raise AssertionError("it does not end")


@pytest.fixture
def chat_terminal(slow_model: Path) -> Iterator[Terminal]:
    terminal = Terminal([TOKKA, "chat", slow_model, "--temperature", 0, "--max-tokens", 8000])
    yield terminal
    os.close(terminal.descriptor)
    try:
        os.kill(terminal.process, signal.SIGKILL)
        os.waitpid(terminal.process, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_chat_on_a_terminal(chat_terminal: Terminal, slow_model: Path) -> None:
    first = reference(slow_model, "Hei!", 20)
    chat_terminal.wait_for("Ctrl-C stops an answer")
    chat_terminal.wait_for("> $")
    chat_terminal.type("Hei!\r")
    chat_terminal.wait_for(re.escape(first[:8]))  # it comes while the rest is being written
    chat_terminal.type("\x03")
    answer = chat_terminal.wait_for("\n> $")
    assert len(answer) < 4000  # the whole of it has 8,000 tokens
    chat_terminal.type("not this\x03")
    chat_terminal.wait_for("\n> $")
    chat_terminal.type("/reset\r")
    chat_terminal.wait_for("A new conversation.")
    chat_terminal.wait_for("\n> $")
    chat_terminal.type("\x04")
    assert chat_terminal.status() == 0
