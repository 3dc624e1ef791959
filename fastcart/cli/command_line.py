"""The command ``fastcart``: what all its commands have in common."""

from __future__ import annotations

import argparse
import errno
import gc
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from fastcart import __version__
from fastcart.errors import InputError, MissingDependencyError, PatientsFailed, meant, nearest
from fastcart.solvers import interrupts

# modules of fastcart.cli, in the order of the help; they import little until they run
COMMANDS = (
    "models",
    "run",
    "compare",
    "explore",
    "scan",
    "sensitivity",
    "optimize",
    "fit",
    "petab",
    "trial",
    "arms",
    "reproduce",
    "bench",
    "compile",
)

# what others call them
_ELSEWHERE = {
    "solve": "run", "simulate": "run", "sim": "run", "integrate": "run", "estimate": "fit",
    "calibrate": "fit", "optimise": "optimize", "pareto": "optimize",
    "plot": "explore", "sweep": "scan", "list": "models",
}  # fmt: skip
_PACKAGE = Path(__file__).parent.parent
_NEGATIVE = re.compile(r"^-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_DASHES = ("-", "\u2013", "\u2014")  # also those that word processors make of two
_LONGEST = 300  # characters of what is wrong with the arguments
# names of files that cannot be, rather than disks that fail
_BAD_NAMES = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
FAILED, BAD_INPUT, NOT_SOLVED, INTERRUPTED = 1, 2, 3, 130
_CODES = f"""\
exit codes:
  0    done, and every patient was solved
  {FAILED}    the program or the machine failed, e.g. a full disk (--debug shows where in the program)
  {BAD_INPUT}    bad input; nothing was computed, or what was finished is kept for --resume
  {NOT_SOLVED}    done, and all is written, but some patients were not solved: their status says why.
       Of 'optimize': at the best points that it reports. Of 'bench': by any engine.
  {INTERRUPTED}  interrupted, by Ctrl-C or by SIGTERM
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence and the way to the help; no flag is taken for a longer one."""

    def __init__(self, **options: Any):
        super().__init__(**options, allow_abbrev=False)
        self._given: list[str] = []
        self._negative_number_matcher = _NEGATIVE  # argparse takes -1e3 for a flag

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; a command says itself what it does not know, since it knows what comes nearest."""
        self._given = list(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(args, namespace)
        self._given = []
        if rest and self._is_command:
            self._unknown(rest)
        needed = getattr(found, "needed_without_init", {})
        if needed and found.init is None:
            missing = [name for name, key in needed.items() if getattr(found, key) is None]
            if missing:
                named = ", ".join(missing)
                self.error(
                    f"the following arguments are required: {named}; --init FILE writes a specification"
                )
        return found, rest

    @property
    def _is_command(self) -> bool:
        return " " in self.prog

    def _unknown(self, rest: Sequence[str]) -> NoReturn:
        flag = next((text.partition("=")[0] for text in rest if text.startswith(_DASHES)), None)
        hint = None if flag is None else self._flag_meant(flag)
        several = "argument" if len(rest) == 1 else "arguments"
        told = " ".join(text.partition("=")[0] if _is_flag(text) else text for text in rest)
        self.error(f"unknown {several}: {told}{f' (did you mean {hint!r}?)' if hint else ''}")

    def _flag_meant(self, flag: str) -> str | None:
        """Return the flag nearest to a misspelt one, of those in the help; of one letter, the only one."""
        listed = [action for action in self._actions if action.help != argparse.SUPPRESS]
        names = [name[2:] for action in listed for name in action.option_strings if name[:2] == "--"]
        word = flag.lstrip("".join(_DASHES))
        begun = [name for name in names if name.startswith(word)] if len(word) == 1 else []
        found = begun[0] if len(begun) == 1 else meant(word, names, cutoff=0.6)
        return None if found is None else f"--{found}"

    @staticmethod
    def _without_value(message: str, given: Sequence[str]) -> str:
        """Say of a flag that lacks its value what to write, where what follows it looks like a flag."""
        found = re.fullmatch(r"argument (\S+): expected (?:one|at least one) argument", message)
        if found is None:
            return message
        flag = found[1].split("/")[-1]
        after = given[given.index(flag) + 1] if flag in given[:-1] else ""
        dashed = after[:1] == "-" and not _is_flag(after)
        more = f"; {after!r} looks like a flag, write {flag}={after}" if dashed else ""
        return f"argument {flag} needs a value{more}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            command = isinstance(action, argparse._SubParsersAction)
            what = "command" if command else f"choice of {'/'.join(action.option_strings) or action.dest}:"
            usual = _ELSEWHERE.get(str(value).lower()) if command else None
            hint = f" (did you mean {usual!r}?)" if usual else _aside(nearest(value, action.choices))
            raise argparse.ArgumentError(None, f"there is no {what} {value!r}{hint}")

    def _unknown_flags(self) -> list[str]:
        """Return the flags of a command that it does not have, once; without a command those before it."""
        given, self._given = self._given, []
        flags = given[: given.index("--")] if "--" in given else given
        if not self._is_command:
            flags = list(takewhile(_is_flag, flags))
        names = [text.partition("=")[0] for text in flags if _is_flag(text)]
        return [name for name in names if name not in self._option_string_actions]

    def error(self, message: str) -> NoReturn:
        given = list(self._given)
        if unknown := self._unknown_flags():  # rather than that what it was meant for is missing
            self._unknown(unknown)
        text = " ".join(self._without_value(message, given).split())
        short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
        self.exit(BAD_INPUT, f"{self.prog}: {short}; see '{self.prog} --help'.\n")


def _is_flag(text: str) -> bool:
    """Whether a text of the command line is meant as a flag, with whatever dashes, and is no number."""
    return text.startswith(_DASHES) and text.lstrip("".join(_DASHES))[:1].isalpha() and " " not in text


def _aside(hint: str) -> str:
    """Return a hint as a part of a sentence, in brackets."""
    text = hint.strip().rstrip(".")
    return f" ({text[:1].lower()}{text[1:]})" if text else ""


class _Terminated(KeyboardInterrupt):
    """The process was asked to end; what Ctrl-C would stop is stopped in the same way."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code, see ``fastcart --help``."""
    options = _parser().parse_args(arguments)
    with _messages() as failures, _termination():
        try:
            with _silence(options):
                code = options.action(options)
            if sys.stdout is not None:  # closed by whoever started the program
                sys.stdout.flush()
            if interrupts.pending():  # in the last moment, or where Python ignores exceptions
                _say("\nfastcart: asked to end when all was done; what was written is complete.")
                code = INTERRUPTED
        except BaseException as error:
            code = _code(error, options)
    _let_go()
    return NOT_SOLVED if code == 0 and failures else code


def _silence(options: argparse.Namespace) -> AbstractContextManager[None]:
    """Return a context in which nothing is said of compiling, where that was asked for."""
    if not getattr(options, "quiet", False):
        return nullcontext()
    from fastcart.telling import announced

    return announced(False)


def _code(error: BaseException, options: argparse.Namespace) -> int:
    """Say in one sentence what went wrong; return the exit code."""
    if _debugging(options) and not isinstance(error, BrokenPipeError):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, InputError):
        _say(f"fastcart: {error}")
        return error.exit_code
    if isinstance(error, MissingDependencyError):
        _say(f"fastcart: {error}")
        return BAD_INPUT
    if isinstance(error, KeyboardInterrupt):
        kept = "no output file was written"
        how = getattr(options, "goes_on", "Go on with --resume" if hasattr(options, "resume") else None)
        if getattr(options, "out", None) is not None and how is not None:
            kept = f"what is finished is kept in {options.out}. {how}"
        _say(f"\nfastcart: {'ended' if isinstance(error, _Terminated) else 'interrupted'}; {kept}.")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
        return FAILED
    from fastcart.checks import reason

    if isinstance(error, OSError):
        file = f": {str(error.filename)[:_LONGEST]}" if error.filename else ""
        _say(f"fastcart: {reason(error)}{file}")
        return BAD_INPUT if error.errno in _BAD_NAMES else FAILED
    elif isinstance(error, UnicodeEncodeError):
        _say(f"fastcart: the system has no file names with characters such as {error.object[error.start]!a}.")
        return BAD_INPUT
    elif isinstance(error, MemoryError):
        _say("fastcart: the memory is used up; take fewer patients, times or threads at once.")
    else:
        what = f"{type(error).__name__}: {reason(error)}"
        _say(
            f"fastcart: this is an error of fastcart itself ({what}); please report it, with what the same "
            "command prints with --debug."
        )
    return FAILED


def _debugging(options: argparse.Namespace) -> bool:
    return getattr(options, "debug", False) or os.environ.get("FASTCART_DEBUG", "0") not in ("", "0")


def _say(text: str) -> None:
    """Write to stderr, where there is one."""
    with suppress(OSError, ValueError):  # nobody reads it
        print(text, file=sys.stderr, flush=True)


class _Stderr(logging.Handler):
    """Writes to what is stderr now."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(record.getMessage())


@contextmanager
def _messages() -> Iterator[list[PatientsFailed]]:
    """Within the context, what the package tells is a sentence on stderr, also where it is a warning.

    Yields the list of the warnings that patients were not solved.
    """
    failures: list[PatientsFailed] = []
    log, handler = logging.getLogger("fastcart"), _Stderr()
    propagated = log.propagate
    log.addHandler(handler)
    log.propagate = False
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Any, category: type[Warning], *rest: Any, **named: Any) -> None:
            if isinstance(message, PatientsFailed):
                failures.append(message)
                _say(f"fastcart: {message}")
            elif category is UserWarning and rest and Path(str(rest[0])).is_relative_to(_PACKAGE):
                _say(f"fastcart: {message}")  # without the line of fastcart that warns
            else:
                shown(message, category, *rest, **named)

        warnings.showwarning = show
        warnings.simplefilter("always", PatientsFailed)  # also where others are errors: all is written
        try:
            yield failures
        finally:
            log.removeHandler(handler)
            log.propagate = propagated


@contextmanager
def _termination() -> Iterator[None]:
    """Within the context, SIGTERM interrupts as Ctrl-C does, so that nothing is left half-written.

    Neither is lost where Python ignores exceptions: it is remembered, see `fastcart.solvers.interrupts`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> NoReturn:
        error = _Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        interrupts.request(error)
        raise error

    def ignored(what: Any) -> None:
        if not (interrupts.pending() and isinstance(what.exc_value, KeyboardInterrupt)):
            shown(what)

    taken = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is to be ignored
        taken.append(signal.SIGINT)
    interrupts.forget()
    shown, sys.unraisablehook = sys.unraisablehook, ignored
    previous = {number: signal.signal(number, end) for number in taken}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        sys.unraisablehook = shown
        interrupts.forget()


def _let_go() -> None:
    """Give up an output that nobody takes, which Python would complain of again at its end."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # it was closed from the start
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            try:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
            except (OSError, ValueError):  # no file of the system, e.g. in a notebook
                continue


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastcart",
        description="CAR-T cell therapy models for thousands to millions of virtual patients at once.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fastcart {__version__}")
    debug = "after an error, show where in the program it arose (or set FASTCART_DEBUG=1)"
    parser.add_argument("--debug", action="store_true", help=debug)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"fastcart.cli.{name}").register(commands)
        # behind the command, too; the default is that of before the command
        commands.choices[name].add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    return parser


def program() -> None:
    """Run as a program; a second interrupt while it ends is no traceback."""
    try:
        code = main()
    except KeyboardInterrupt:  # before or after the command itself, e.g. while modules are loaded
        code = INTERRUPTED
    except BrokenPipeError:
        code = FAILED
        _let_go()
    gc.freeze()  # the process ends: to look through all that numba and pandas hold takes a fifth of a second
    sys.exit(code)


if __name__ == "__main__":
    program()
