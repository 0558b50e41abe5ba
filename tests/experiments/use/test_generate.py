"""Text from the folder of a run or of a published model, and the errors of folders that cannot give any."""

import json
import shutil
from typing import Any

from flax import nnx
import jax
import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import BPE, WordPiece
from tokenizers.pre_tokenizers import ByteLevel, WhitespaceSplit
from tokenizers.trainers import BpeTrainer

from core.errors import UserError
from data.published_tokenizer import PublishedTokenizer
from experiments.use.generate import generate, main, refuse_others
from models import GPT, Bert, Captioner
from models.decoding import sample
from models.pretrained import load, save
import train

SHARED = {
    "seed": 0,
    "steps": 2,
    "batch_size": 3,
    "eval_every": 2,
    "checkpoint_every": 2,
    "optimizer": {"name": "adamw", "learning_rate": 1e-3, "schedule": "constant"},
}
SMALL: dict[str, Any] = {"width": 8, "depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    # The split gives a single evaluation window, which is enough.
    config = SHARED | {
        "model": {"name": "gpt", "context": 13} | SMALL,
        "objective": {"name": "language_modeling"},
        "data": {"name": "python_docs", "context": 13, "evaluation": "validation[:60]"},
    }
    workdir = tmp_path_factory.mktemp("runs") / "text"
    train.run(config, workdir)
    return workdir


def test_a_recurrent_network_writes_beyond_its_context(tmp_path):
    config = SHARED | {
        "model": {"name": "recurrent", "context": 13, "width": 8, "cell": "lstm"},
        "objective": {"name": "language_modeling"},
        "data": {"name": "python_docs", "context": 13, "evaluation": "validation[:60]"},
    }
    train.run(config, tmp_path)
    model: Any
    model, run = train.load(tmp_path)
    vocabulary: Any = run.dataset.vocabulary
    prompt = vocabulary.encode("def ")
    tokens = sample(model, prompt[None], jax.random.key(0), length=17, temperature=0.8)
    assert generate(str(tmp_path), "def ", tokens=17) == [vocabulary.decode(np.append(prompt, tokens[0]))]


def test_a_captioner_continues_no_prompt():
    shape: Any = dict(image_shape=(8, 8, 3), vocab_size=23, context=13, width=8, depth=1)
    kinds: Any = dict(encoder="convolutional", decoder="recurrent")
    model: Any = nnx.eval_shape(lambda: Captioner(**shape, **kinds, rngs=nnx.Rngs(0)))
    with pytest.raises(UserError, match="^folder holds a model that writes about images, and continues no prompt$"):
        refuse_others("folder", model)


@pytest.fixture(scope="module")
def image_run(tmp_path_factory):
    config = SHARED | {
        "model": {"name": "vit", "patch": 4} | SMALL,
        "objective": {"name": "classification"},
        "data": {"name": "digits", "evaluation": "test[:5]"},
    }
    workdir = tmp_path_factory.mktemp("runs") / "images"
    train.run(config, workdir)
    return workdir


def refused(capsys, *arguments):
    """The one line with which the command refuses its arguments."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    output = capsys.readouterr()
    assert stop.value.code == 1 and output.out == "" and output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    return output.err


def test_each_sample_continues_the_prompt(text_run):
    texts = generate(text_run, "The import", tokens=17, samples=3, temperature=1.0)
    assert [len(text) for text in texts] == [len("The import") + 17] * 3
    assert all(text.startswith("The import") for text in texts) and len(set(texts)) == 3


def test_the_seed_decides_the_text(text_run, capsys):
    options = [f"--workdir={text_run}", "--prompt=def f(", "--tokens=19", "--temperature=1"]
    output = []
    for seed in (0, 0, 1):
        main([*options, f"--seed={seed}"])
        output.append(capsys.readouterr().out)
    assert output[0] == output[1] != output[2]
    assert output[0].startswith("def f(") and len(output[0]) == len("def f(") + 19 + 1


def test_greedy_samples_are_all_the_same(text_run):
    first, second = generate(text_run, "a", tokens=5, temperature=0, samples=2)
    assert first == second


def test_an_unknown_character_is_named(text_run, capsys):
    assert "'\N{SNOWMAN}'" in refused(capsys, f"--workdir={text_run}", "--prompt=a\N{SNOWMAN}")


def test_an_empty_prompt_is_refused(text_run, capsys):
    assert "the prompt is empty" in refused(capsys, f"--workdir={text_run}", "--prompt=")


def test_a_setting_out_of_range_is_named(text_run, capsys):
    assert "top_p = 2.0" in refused(capsys, f"--workdir={text_run}", "--prompt=a", "--top_p=2")
    assert "samples = 0" in refused(capsys, f"--workdir={text_run}", "--prompt=a", "--samples=0")


def test_a_model_without_text_is_refused(image_run, capsys):
    error = refused(capsys, f"--workdir={image_run}", "--prompt=a")
    assert "model 'vit'" in error and "cannot write text" in error


def test_a_folder_without_run_or_checkpoint_is_named(text_run, tmp_path, capsys):
    assert str(tmp_path) in refused(capsys, f"--workdir={tmp_path}", "--prompt=a")
    (tmp_path / "config.json").write_text((text_run / "config.json").read_text())
    assert "no checkpoint" in refused(capsys, f"--workdir={tmp_path}", "--prompt=a")


@pytest.fixture
def published(tmp_path):
    """The folder of a GPT-2 whose tokens are the single bytes and, after them, an end of text."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    trainer = BpeTrainer(initial_alphabet=ByteLevel.alphabet(), vocab_size=256, show_progress=False)
    tokenizer.train_from_iterator([], trainer)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    model = GPT(vocab_size=257, context=13, activation="gelu_tanh", **SMALL, rngs=nnx.Rngs(0))
    model.embedding.embedding[...] *= 20
    save(model, tmp_path / "gpt2")
    tokenizer.save(str(tmp_path / "gpt2" / "tokenizer.json"))
    return tmp_path / "gpt2"


def test_published_weights_write_with_their_own_tokens(published, capsys):
    main([f"--weights={published}", "--prompt=Grüße", "--tokens=9", "--temperature=0"])
    text = capsys.readouterr().out
    tokenizer, model = Tokenizer.from_file(str(published / "tokenizer.json")), load(published)
    assert isinstance(model, GPT)
    prompt = np.array([tokenizer.encode("Grüße").ids])
    assert prompt.shape == (1, 7)  # ü and ß are two bytes each
    tokens = np.asarray(sample(model, prompt, jax.random.key(0), length=9, temperature=0))[0].tolist()
    assert text == "Grüße" + tokenizer.decode(tokens) + "\n"
    # If the folder names an end of text, the same text up to there.
    config = json.loads((published / "config.json").read_text())
    (published / "config.json").write_text(json.dumps(config | {"eos_token_id": tokens[4]}))
    short = generate(str(published), "Grüße", tokens=9, temperature=0)[0]
    assert short == "Grüße" + tokenizer.decode(tokens[: tokens.index(tokens[4])])


def test_every_end_token_ends_a_text_wherever_it_stands(published):
    def write(name, ends):
        (published / name).write_text(json.dumps({**json.loads((published / "config.json").read_text()), **ends}))

    text = generate(str(published), "a", tokens=9, temperature=0)[0]
    tokens = PublishedTokenizer(published).encode(text)
    assert len(tokens) == 10
    first = 1 + tokens[1:].tolist().index(tokens[3])
    write("config.json", {"eos_token_id": [256, int(tokens[3])]})
    cut = PublishedTokenizer(published).decode(tokens[:first])
    assert generate(str(published), "a", tokens=9, temperature=0) == [cut]
    (published / "generation_config.json").write_text(json.dumps({"eos_token_id": [256, 255]}))  # takes precedence
    assert PublishedTokenizer(published).ends == (256, 255)
    (published / "generation_config.json").write_text(json.dumps({"eos_token_id": ["256"]}))
    with pytest.raises(UserError, match="a special token has the number '256': expected a whole number"):
        PublishedTokenizer(published)


def test_prompt_and_continuation_are_decoded_together(tmp_path):
    """A piece that begins a word gets a space before it only if something stands before it."""
    words = ["[UNK]", "the", "cat", "sat", "##s"]
    tokenizer = Tokenizer(WordPiece(dict(zip(words, range(5))), unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.decoder = WhitespaceSplit(), WordPieceDecoder()
    save(GPT(vocab_size=5, context=7, activation="gelu_tanh", **SMALL, rngs=nnx.Rngs(0)), tmp_path / "gpt2")
    tokenizer.save(str(tmp_path / "gpt2" / "tokenizer.json"))
    prompt = "the cat"
    for text in generate(str(tmp_path / "gpt2"), prompt, tokens=5, temperature=5.0, samples=5):
        assert text.startswith(prompt) and text[len(prompt) :].lstrip("s")[:1] in ("", " ", ".")
        assert all(word.rstrip("s") in ("the", "cat", "sat", "[UNK]") for word in text.split())


@pytest.mark.parametrize(
    "setting",
    [
        {"do_lower_case": True}, {"add_prefix_space": True}, {"strip_accents": True}, {"tokenize_chinese_chars": True},
        {"do_basic_tokenize": False}, {"add_bos_token": True, "bos_token": "<|endoftext|>"},
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_a_tokenizer_that_its_file_does_not_have_are_refused(published, setting):
    harmless = {"padding_side": "left", "truncation_side": "left", "model_max_length": 3, "do_lower_case": False}
    (published / "tokenizer_config.json").write_text(json.dumps(harmless | {"add_prefix_space": False}))
    assert len(PublishedTokenizer(published)) == 257
    (published / "tokenizer_config.json").write_text(json.dumps(setting))
    with pytest.raises(UserError, match=f"tokenizer_config.json: {next(iter(setting))} = .*tokenizer.json beside it"):
        PublishedTokenizer(published)


def test_published_folders_that_cannot_write_are_named(published, tmp_path, capsys):
    (published / "tokenizer.json").unlink()
    assert "gpt2 has no tokenizer.json" in refused(capsys, f"--weights={published}", "--prompt=a")
    (published / "tokenizer.json").write_text("{}")
    assert "tokenizer.json does not hold a tokenizer" in refused(capsys, f"--weights={published}", "--prompt=a")
    encoder = Bert(vocab_size=257, context=13, head="masked", **SMALL, rngs=nnx.Rngs(0))
    save(encoder, tmp_path / "bert")
    assert "holds a Bert, which cannot write" in refused(capsys, f"--weights={tmp_path / 'bert'}", "--prompt=a")


def test_another_vocabulary_is_refused(text_run, tmp_path, capsys):
    config = json.loads((text_run / "config.json").read_text())
    config["model"]["vocab_size"] += 1
    other = shutil.copytree(text_run, tmp_path / "other")
    (other / "config.json").write_text(json.dumps(config))
    error = refused(capsys, f"--workdir={other}", "--prompt=a")
    assert "cannot be rebuilt here" in error and f"vocab_size = {config['model']['vocab_size']}" in error


@pytest.mark.parametrize(
    "setting", ["--seed=-1", f"--seed={2**32}", "--tokens=0", f"--tokens={10**11}", f"--top_k={10**11}", "--top_p=0",
                "--temperature=inf", "--samples=0"],
)  # fmt: skip
def test_a_number_out_of_range_is_named(text_run, capsys, setting):
    name = setting.removeprefix("--").partition("=")[0]
    assert f"{name} = " in refused(capsys, f"--workdir={text_run}", "--prompt=a", setting)


@pytest.mark.parametrize("workdir", ["none", ""])
def test_a_folder_without_a_run_is_not_said_to_have_been_trained_elsewhere(workdir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is not the workdir of a run|name of the workdir is empty") as error:
        generate(workdir, "a")
    assert "rebuilt" not in str(error.value)
