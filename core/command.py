"""The shell around every command: a user's mistake is one message, a bug keeps its stack trace."""

from collections.abc import Callable, Sequence
import errno
import functools
import os
import sys

from core.errors import Stopped, UserError

TRACEBACK = "LECTERN_TRACEBACK"  # an environment variable, so that the processes a command starts inherit it

# Conditions of the machine that a user can mend. Any other OSError is a bug.
_CONDITIONS = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.EISDIR, errno.ENOTEMPTY, errno.EFBIG, errno.EMFILE, errno.EIO, errno.ELOOP,
}  # fmt: skip


def command(main: Callable[[list[str]], int | None]) -> Callable[..., None]:
    """Decorates the `main(arguments)` of a command, `arguments` without the program's name.

    The decorated function takes `sys.argv[1:]` by default. It turns a `UserError`, a full or read-only disk, a lack of
    memory, Ctrl-C and `Stopped` into one message on stderr and an exit code; a pipe that the reader has closed ends the
    command in silence. Any other exception is a bug and is raised. With `--traceback` among the arguments everything is
    raised. What `main` returns is the exit code.
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> None:
        arguments = list(sys.argv[1:] if arguments is None else arguments)
        if "--traceback" in arguments:
            arguments.remove("--traceback")
            os.environ[TRACEBACK] = "1"
        try:
            code = main(arguments)
            sys.stdout.flush()  # here, where a closed pipe is caught
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain at exit
            sys.exit(0)
        except KeyboardInterrupt:
            _end("stopped; what was saved before is kept. To go on, run the same command again.", 130)
        except Stopped as stopped:
            _end(str(stopped), stopped.code)
        except Exception as error:
            message = _message(error)
            if message is None or os.environ.get(TRACEBACK):
                raise
            print(f"error: {message}", file=sys.stderr, flush=True)
            if getattr(error, "errno", None) == errno.ENOSPC:
                os._exit(1)  # on a full disk the exit handlers of libraries would fail too, with a trace each
            sys.exit(1)
        if code:
            sys.exit(code)

    return run


def _end(message: str, code: int) -> None:
    print(message, file=sys.stderr, flush=True)
    sys.exit(code)


def _message(error: Exception) -> str | None:
    """What to tell the user; None if the error is a bug."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _CONDITIONS:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    if type(error).__name__ == "JaxRuntimeError" and str(error).startswith("RESOURCE_EXHAUSTED"):
        reason = str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ")
        return (f"{reason} What was saved before is kept. A smaller batch_size needs less memory, as do accumulate "
                "(the batch in parts) and model.remat.")  # fmt: skip
    return None
