"""A user's mistake is one message, without a stack trace, before anything is compiled. A bug keeps its trace."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from core.errors import UserError
from core.metrics import LOWER, measures
from tests import tiny
import train

CONFIG = f"--config={tiny.ROOT}/tests/tiny.py"


def message(capsys, *flags: str) -> str:
    """The message with which a command line is refused."""
    with pytest.raises(SystemExit) as exit_:
        train.main(flags)
    error = capsys.readouterr().err
    assert exit_.value.code == 1
    assert error.startswith("error: ") and error.count("error: ") == 1 and "Traceback" not in error
    return error


@pytest.fixture
def uncompiled(monkeypatch):
    """Nothing is compiled."""

    def compile(*_, **__):
        raise AssertionError("compiled before the mistake was found")

    monkeypatch.setattr(jax.stages.Lowered, "compile", compile)


@pytest.mark.parametrize(
    "flag, words",
    [
        ("model.widht=8", ["model.widht is not a field. Did you mean 'width'?", "heads"]),
        ("stpes=8", ["config.stpes is not a field. Did you mean 'steps'?"]),
        ("modle.width=8", ["no section 'modle'", '"model"']),
        ("optimizer.beta3=0.5", ["optimizer.beta3 is not a field"]),
        ("steps=abc", ["--config.steps=abc", "expected a whole number"]),
        ("optimizer.learning_rate=fast", ["--config.optimizer.learning_rate=fast", "expected a number"]),
        ("model.scan=maybe", ["model.scan = 'maybe': expected bool, not str"]),
        ("steps=0", ["config.steps = 0: expected 1 <= steps <= 1,000,000,000"]),
        ("ema=1.0", ["config.ema = 1.0: expected 0 <= ema < 1"]),
        ("accumulate=3", ["accumulate = 3 must divide batch_size = 16"]),
        ("best=accurcy", ["best = 'accurcy': expected one of accuracy, loss"]),
        ("model.heads=3", ["heads=3 must divide width=8"]),
        ("model.heads=0", ["model.heads = 0: expected 1 <= heads <= 131,072"]),
        ("model.width=0", ["model.width = 0: expected 1 <= width <= 131,072"]),
        ("model.dtype=float64", ["model.dtype = 'float64': expected one of float32, bfloat16, float16"]),
        ("model.relative_farthest=100000000000000000000", ["relative_farthest = 1000000"]),
        ("seed=-1", ["config.seed = -1: expected 0 <= seed <= 4,294,967,295"]),
        ("seed=4294967296", ["config.seed = 4294967296: expected 0 <= seed <= 4,294,967,295"]),
        ("keep=100000000000000000000", ["expected 1 <= keep <= 10,000"]),
        ("optimizer.clip=-1", ["optimizer.clip = -1.0: expected 0 <= clip"]),
        ("optimizer.beta1=99999999999", ["optimizer.beta1 = 99999999999: expected 0 <= beta1 < 1"]),
        ("optimizer.learning_rate=nan", ["optimizer.learning_rate = nan: expected 0 < learning_rate <= 1,000"]),
        ("optimizer.final=5.0", ["optimizer.final = 5.0: expected 0 <= final <= 1"]),
        ("model.patch=3", ["patch=3 must divide"]),
        ("model.norm=rmms", ["norm='rmms': expected 'layer' or 'rms'"]),
        ("model.classes=7", ["model.classes = 7, but the data (digits) has 10"]),
        ("batch_size=2000", ["batch_size = 2000", "1,437 examples"]),
        ("mesh.fsdp=3", ["'fsdp': 3", "1 device(s)"]),
        ("model.name=vti", ["model.name = 'vti': expected one of ", "vit"]),
        ("data.name=digit", ["data.name = 'digit': expected one of ", "digits"]),
        ("objective.name=classify", ["objective.name = 'classify': expected one of ", "classification"]),
        ("optimizer.name=adam", ["'adam': expected one of adamw"]),
        ("optimizer.schedule=cos", ["'cos': expected one of constant, cosine"]),
        ("optimizer.warmup=16", ["warmup = 16: expected 0 <= warmup < steps, which is 16"]),
        ("data.evaluation=tset", ["no split 'tset'", "test"]),
    ],
)
def test_a_field(flag, words, capsys, uncompiled, tmp_path):
    error = message(capsys, CONFIG, f"--workdir={tmp_path}", f"--config.{flag}")
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    "content, words",
    [
        ("def get_config(:", ["SyntaxError", "config.py, line 1"]),
        ("def get_config():\n  return Conf()", ["NameError", "Conf"]),
        ("def get_config():\n  assert False", ["AssertionError: it gave no reason"]),
        ("def get_config():\n  return 3", ["gave 3, not a ConfigDict"]),
        (
            "{}\n  config.batch_size = '16'\n  return config",
            ["config.py: line 4: TypeError", "'batch_size'", "str", "int"],
        ),
        ("{}\n  config.eval_evry = 5\n  return config", ["eval_evry is not a field. Did you mean 'eval_every'?"]),
        ("{}\n  config.seed = None\n  return config", ["config.seed = None: expected int, not NoneType"]),
        ("{}\n  del config['seed']\n  return config", ["config lacks seed"]),
        ("{}\n  del config.model['name']\n  return config", ["model.name = None: expected one of "]),
        ("{}\n  config.data.name = 'python_docs'\n  config.data.context = 7\n  return config", ["data.shift is not"]),
    ],
)
def test_a_config_file(content, words, capsys, uncompiled, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(content.format("from tests import tiny\ndef get_config():\n  config = tiny.get_config()"))
    error = message(capsys, f"--config={path}", f"--workdir={tmp_path}/run")
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    "flags, words",
    [
        ([], ["--config=configs/vit.py --workdir="]),
        ([CONFIG], ["--workdir="]),
        (["--workdir=x"], ["--config="]),
        ([CONFIG, "--workdir="], ["say what to train and where"]),
        (["--config=absent.py", "--workdir=x"], ["config file", "No such file", "absent.py"]),
        ([CONFIG, "--wrokdir=x"], ["'wrokdir'", "workdir"]),
        ([CONFIG, "--workdir=x", "extra"], ["'extra' is not a flag"]),
    ],
)
def test_a_command_line(flags, words, capsys, uncompiled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = message(capsys, *flags)
    for word in words:
        assert word in error
    assert not list(tmp_path.iterdir())


def test_a_link_to_nothing_as_a_workdir(capsys, uncompiled, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for below in ("link", "link/run"):
        assert "link is a link to nothing" in message(capsys, CONFIG, f"--workdir={tmp_path}/{below}")
    assert not (tmp_path / "gone").exists()


def test_a_section_that_the_file_leaves_out(capsys, uncompiled, tmp_path):
    error = message(capsys, f"--config={tiny.ROOT}/configs/vit.py", f"--workdir={tmp_path}", "--config.mesh.fsdp=3")
    assert "mesh {'data': -1, 'fsdp': 3, 'tensor': 1} does not fit 1 device(s)" in error


def test_vocabulary_against_data(capsys, uncompiled, tmp_path):
    error = message(capsys, f"{CONFIG}:gpt", f"--workdir={tmp_path}", "--config.model.vocab_size=7")
    assert "model.vocab_size = 7, but the data (python_docs) has " in error


def test_a_set_that_is_not_there(capsys, uncompiled, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    error = message(capsys, CONFIG, f"--workdir={tmp_path}/run", "--config.data.name=mnist")
    assert f"Looked in {tmp_path}/sets/mnist" in error and "download_and_prepare()" in error


def test_parts_that_do_not_fit_together(capsys, uncompiled, tmp_path):
    flags = ("--config.model.name=vit", "--config.model.patch=4", "--config.model.classes=5")
    flags += ("--config.objective.name=classification",)
    shape = "--config.model.image_shape=(8,8,1)"
    path = tmp_path / "config.py"
    path.write_text(
        "from tests import tiny\ndef get_config():\n  config = tiny.get_config('gpt')\n"
        "  del config.model['context']\n  return config"
    )
    error = message(capsys, f"--config={path}", f"--workdir={tmp_path}/run", *flags, shape)
    assert error.startswith("error: model vit, data python_docs, objective classification do not fit together: ")
    assert "the inputs of the model are 'images', but the data has 'tokens'" in error


@pytest.mark.parametrize(
    "config, objective, words",
    [
        ("vit", "seq2seq", "needs a model that writes a text token by token, and this VisionTransformer does not"),
        ("vit", "language_modeling", "needs a model that returns the logits of tokens"),
        ("gpt", "classification", "needs a model that returns the logits of classes, and this GPT does not"),
        ("gpt", "variational", "needs a model that encodes to latents and decodes them"),
    ],
)
def test_an_objective_that_the_model_is_not_for(config, objective, words, capsys, uncompiled, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(
        f"from tests import tiny\ndef get_config():\n  config = tiny.get_config('{config}')\n"
        f"  config.objective = {{'name': '{objective}'}}\n  return config"
    )
    error = message(capsys, f"--config={path}", f"--workdir={tmp_path}/run")
    assert error.startswith(f"error: objective.name = '{objective}' {words}")


def test_a_start_that_is_not_there(capsys, uncompiled, tmp_path):
    error = message(capsys, CONFIG, f"--workdir={tmp_path}/run", f"--config.init_from={tmp_path}/nowhere")
    assert error.startswith(f"error: init_from = '{tmp_path}/nowhere': expected the folder of a published model")


def test_a_long_value_is_not_repeated_whole(capsys, uncompiled, tmp_path):
    for field in ("model.positions", "data.train", "objective.name", "best", "init_from", "model.width", "x" * 5000):
        error = message(capsys, CONFIG, f"--workdir={tmp_path}/run", f"--config.{field}={'x' * 5000}")
        assert len(error) < 1000 and error.count("\n") == 1


def test_targets_that_do_not_fit_the_logits(capsys, uncompiled, tmp_path):
    error = message(capsys, f"{CONFIG}:gpt", f"--workdir={tmp_path}", "--config.objective.name=regression")
    assert "objective regression do not fit together: the model predicts (16, 7, " in error


def test_a_bug_in_a_model_keeps_its_trace(uncompiled, tmp_path, monkeypatch):
    """It is not reported as a mismatch of model, data and objective."""

    @measures(loss=LOWER)
    def broken(model, batch, key):
        return jnp.zeros(3) + jnp.zeros(5)

    monkeypatch.setitem(train.OBJECTIVES, "broken", broken)
    config = tiny.get_config()
    config.objective = {"name": "broken"}
    with pytest.raises(TypeError, match="incompatible shapes for broadcasting"):
        train.run(config, tmp_path)


def test_with_traceback_a_mistake_is_raised_with_its_origin(uncompiled, tmp_path):
    flags = (f"{CONFIG}:gpt", f"--workdir={tmp_path}", "--config.objective.name=regression", "--traceback")
    with pytest.raises(UserError, match="do not fit together") as error:
        train.main(flags)
    assert isinstance(error.value.__cause__, UserError)


def test_a_coordinator_without_processes(capsys, uncompiled, tmp_path):
    error = message(capsys, CONFIG, f"--workdir={tmp_path}", "--coordinator=localhost:1234")
    assert error.startswith("error: --coordinator=localhost:1234, --processes=None, --process=None: ")


def test_as_a_user_sees_it(tmp_path):
    output = tiny.finish(tiny.start("vit", tmp_path, "--config.model.widht=8"), 1)
    assert output.startswith("error: model.widht is not a field. Did you mean 'width'?")
    assert output.count("\n") == 1


def test_too_little_memory(capsys, tmp_path, monkeypatch):
    too_large = lambda *arguments, **more: jax.block_until_ready(jnp.ones(2**46, jnp.uint8))
    monkeypatch.setattr(train, "run", too_large)
    error = message(capsys, CONFIG, f"--workdir={tmp_path}")
    assert error.startswith("error: Out of memory allocating") and "batch_size" in error


def test_help(capsys):
    train.main(["--help"])
    assert "--config=configs/" in capsys.readouterr().out


def test_a_mistake_is_reported_before_slow_libraries_load():
    """They take most of a second, and a wrong config needs none of them."""
    late = ["scipy.stats", "scipy.spatial", "sklearn", "grain", "orbax.checkpoint", "matplotlib", "optuna"]
    code = f"import sys, train; print(sorted(set({late}) & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, capture_output=True, text=True)
    assert process.stdout == "[]\n", process.stderr
