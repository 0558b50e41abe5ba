"""The shell around every command: a user's mistake is one message, a bug keeps its stack trace."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
import errno
import functools
import os
import select
import signal
import sys
from typing import IO

from core.errors import Stopped, UserError, printable

# Set by --traceback. An environment variable, so that the processes that a command starts inherit it.
TRACEBACK = "LECTERN_TRACEBACK"

# Conditions of the machine that a user can mend. Any other OSError is a bug.
_CONDITIONS = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ELOOP,
}  # fmt: skip


def command(main: Callable[[list[str]], int | None]) -> Callable[..., None]:
    """Returns `main(arguments)` as a command. `arguments` do not contain the program's name.

    The returned function takes `sys.argv[1:]` by default, removes `--traceback` from its arguments and ends as follows:

    - `main` returns: returns if the result is None or 0, else exits with it.
    - `UserError`, a full or read-only disk, a lack of memory: prints "error: ..." to stderr and exits with 1.
    - `Stopped`: prints its message to stderr and exits with its code. Ctrl-C: the same, with 130.
    - The reader of stdout or stderr has gone, as in `| head`: exits with 141 and prints nothing.
    - Any other exception is a bug of this project or of a library: it is raised, with its stack trace.

    With `--traceback`, or with a non-empty environment variable LECTERN_TRACEBACK, every error is raised.
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> None:
        arguments = list(sys.argv[1:] if arguments is None else arguments)
        with _traceback("--traceback" in arguments):
            code = _guarded(main, [argument for argument in arguments if argument != "--traceback"])
        if code:
            sys.exit(code)

    return run


def print_foreign(text: str) -> None:
    """Prints text that a model or a file made up. A terminal gets none of what it would act on; a file gets all."""
    print(printable(text) if sys.stdout.isatty() else text)


@contextmanager
def _traceback(enabled: bool) -> Iterator[None]:
    """Sets LECTERN_TRACEBACK for a block."""
    before = os.environ.get(TRACEBACK)
    if enabled:
        os.environ[TRACEBACK] = "1"
    try:
        yield
    finally:
        if enabled and before is None:
            del os.environ[TRACEBACK]


def _guarded(main: Callable[[list[str]], int | None], arguments: list[str]) -> int | None:
    try:
        code = main(arguments)
        sys.stdout.flush()  # here, where a closed pipe is caught
        return code
    except BrokenPipeError:
        closed = [stream for stream in (sys.stdout, sys.stderr) if _reader_has_gone(stream)]
        if not closed:
            raise  # a pipe to a process that the command started
        for stream in closed:  # Python flushes both at exit, and would complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 128 + signal.SIGPIPE
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Rich meets a closed pipe by exiting with 1
            return 128 + signal.SIGPIPE
        raise
    except KeyboardInterrupt:
        return _say("stopped; what was saved before is kept. To go on, run the same command again.", 130)
    except Stopped as stopped:
        return _say(str(stopped), stopped.code)
    except Exception as error:
        message = _message(error)
        if message is None or os.environ.get(TRACEBACK):
            raise
        _say(f"error: {message}", 1)
        if getattr(error, "errno", None) == errno.ENOSPC:
            with suppress(OSError):
                sys.stdout.flush()
            os._exit(1)  # on a full disk the exit handlers of libraries fail too, each with a stack trace
        return 1


def _say(message: str, code: int) -> int:
    print(printable(message), file=sys.stderr, flush=True)
    return code


def _reader_has_gone(stream: IO[str]) -> bool:
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # not a file: a notebook, or a test that captures output
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _message(error: Exception) -> str | None:
    """Returns what to tell the user, or None if the error is a bug."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _CONDITIONS:
        if error.strerror is None:
            return str(error)
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return _out_of_memory(str(error) or "Out of memory.")
    if type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") and "RESOURCE_EXHAUSTED" in str(error):
        return _out_of_memory(str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: "))
    return None


def _out_of_memory(reason: str) -> str:
    return (
        f"{reason} What was saved before is kept. A smaller batch_size needs less memory, as do accumulate "
        "(the batch in parts) and model.remat."
    )
