"""How a command ends: a user's mistake is one message, a bug keeps its stack trace."""

import errno
import os
from pathlib import Path
import subprocess
import sys

import pytest

from core.command import TRACEBACK, command, print_foreign
from core.errors import Stopped, UserError

ROOT = Path(__file__).parents[2]
BUGS = [ValueError("x"), TypeError("x"), KeyError("x"), FileNotFoundError(errno.ENOENT, "x"), OSError("x")]


@pytest.fixture(autouse=True)
def no_traceback(monkeypatch):
    monkeypatch.delenv(TRACEBACK, raising=False)


def raising(error: BaseException):
    @command
    def main(arguments):
        raise error

    return main


def ends(main, capsys, *arguments: str) -> tuple[int, str]:
    """The exit code of a command, and what it writes to stderr."""
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, capsys.readouterr().err


def test_a_users_mistake_is_one_line(capsys):
    assert ends(raising(UserError("no folder x")), capsys) == (1, "error: no folder x\n")


@pytest.mark.parametrize("error", BUGS, ids=lambda error: type(error).__name__)
def test_a_bug_keeps_its_trace(error, capsys):
    with pytest.raises(type(error)) as raised:
        raising(error)([])
    assert raised.value is error
    assert capsys.readouterr().err == ""


def test_with_traceback_a_mistake_keeps_its_trace_and_the_processes_it_starts_know(monkeypatch):
    seen = []

    @command
    def main(arguments):
        seen.append((arguments, os.environ[TRACEBACK]))
        raise UserError("no folder x")

    with pytest.raises(UserError):
        main(["a", "--traceback", "b"])
    assert seen == [(["a", "b"], "1")]
    assert TRACEBACK not in os.environ
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(UserError):
        main(["a", "b"])
    assert os.environ[TRACEBACK] == "1"


def test_the_arguments_are_those_of_the_process_unless_they_are_given(monkeypatch):
    seen = []
    main = command(seen.append)
    monkeypatch.setattr(sys, "argv", ["program", "a", "--traceback"])
    main()
    main(("b",))
    assert seen == [["a"], ["b"]]


@pytest.mark.parametrize("result, code", [(None, None), (0, None), (3, 3)])
def test_the_result_is_the_exit_code(result, code, capsys):
    main = command(lambda arguments: result)
    if code is None:
        assert main([]) is None
    else:
        assert ends(main, capsys) == (code, "")


def test_work_that_was_stopped_ends_with_its_own_code(capsys):
    assert ends(raising(Stopped("stopped after step 3", 143)), capsys) == (143, "stopped after step 3\n")


def test_ctrl_c_says_how_to_go_on(capsys):
    code, message = ends(raising(KeyboardInterrupt()), capsys)
    assert code == 130 and "run the same command again" in message and message.count("\n") == 1


@pytest.mark.parametrize(
    "error, message",
    [
        (PermissionError(errno.EACCES, "Permission denied", "runs/a"), "error: runs/a: Permission denied\n"),
        (OSError(errno.EROFS, "Read-only file system"), "error: Read-only file system\n"),
        (FileExistsError(errno.EEXIST, "File exists", "a.txt"), "error: a.txt: File exists\n"),  # in place of a folder
        (IsADirectoryError(errno.EISDIR, "Is a directory", "runs"), "error: runs: Is a directory\n"),
    ],
)
def test_a_condition_of_the_machine_is_one_line(error, message, capsys):
    assert ends(raising(error), capsys) == (1, message)


def test_on_a_full_disk_no_exit_handler_runs(tmp_path):
    assert run(
        """
        import atexit, errno
        atexit.register(print, "an exit handler")
        print("before")
        raise OSError(errno.ENOSPC, "No space left on device", "runs/a/config.json")
        """
    ) == (1, "before\n", "error: runs/a/config.json: No space left on device\n")


def test_too_little_memory_says_what_needs_less(capsys):
    class JaxRuntimeError(RuntimeError):
        pass

    of_a_device = JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.\nmore")
    for error in (of_a_device, MemoryError("Unable to allocate 8 GiB")):
        code, message = ends(raising(error), capsys)
        assert code == 1 and message.startswith(("error: Out of memory allocating 8 bytes. What", "error: Unable"))
        assert "batch_size" in message and "more" not in message
    with pytest.raises(JaxRuntimeError):
        raising(JaxRuntimeError("INTERNAL: a bug"))([])


def test_a_closed_pipe_ends_the_command_in_silence():
    reader, writer = os.pipe()
    os.close(reader)
    code, _, err = run("print('x' * 10, flush=True)", stdout=writer)
    os.close(writer)
    assert (code, err) == (141, "")
    reader, writer = os.pipe()
    os.close(reader)
    assert run("print('x' * 10)", stdout=writer)[::2] == (141, "")  # seen when the command ends
    os.close(writer)


def test_a_message_writes_no_escape_codes_to_the_terminal():
    text = r"'\x1b]0;title\x07 \x9b2J \r \udcff: ä\tb\n  c'"
    code, _, err = run(f"from core.errors import UserError; raise UserError({text})")
    assert (code, err) == (1, "error: \\x1b]0;title\\x07 \\x9b2J \\r \\udcff: ä\tb\n  c\n")


def test_a_closed_pipe_ends_a_command_that_prints_tables_too():
    """Rich exits with 1."""
    code, out, err = run("import os; from rich.console import Console; r, w = os.pipe(); os.close(r); os.dup2(w, 1); "
                         "Console(highlight=False).print('x')")  # fmt: skip
    assert (code, out, err) == (141, "", "")


def test_a_closed_pipe_to_another_process_is_a_bug():
    code, _, err = run("import os; r, w = os.pipe(); os.close(r); os.write(w, b'x')")
    assert code == 1 and err.startswith("Traceback") and "BrokenPipeError" in err


def run(body: str, stdout=subprocess.PIPE) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command with this body, in a process of its own."""
    lines = [line.strip() for line in body.strip().splitlines()]
    program = "from core.command import command\n@command\ndef main(arguments):\n"
    program += "".join(f"  {line}\n" for line in lines) + "main([])\n"
    arguments = [sys.executable, "-c", program]
    process = subprocess.run(arguments, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True)
    return process.returncode, process.stdout, process.stderr


def test_what_a_model_writes_cannot_act_on_a_terminal_but_reaches_a_file_whole(monkeypatch, capsys):
    text = "a\x1b[2Jb\n木"
    print_foreign(text)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_foreign(text)
    assert capsys.readouterr().out == f"{text}\na\\x1b[2Jb\n木\n"


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "\x1b[2J", "a\rb", "\x9b31m", "\u202ereversed", "\udc80"])
def test_no_message_can_write_more_than_text_to_a_terminal(text, capsys):
    @command
    def main(arguments):
        raise UserError(f"the tensor {text} is\n  missing")

    with pytest.raises(SystemExit):
        main([])
    message = capsys.readouterr().err
    assert message.startswith("error: the tensor ") and message.endswith(" is\n  missing\n")
    assert all(c.isprintable() or c == "\n" for c in message)
    assert str(UserError("ü, 木, \t and \\")) == "ü, 木, \t and \\"
