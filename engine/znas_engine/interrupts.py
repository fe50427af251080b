"""Signals that end a command: the first unwinds it, later ones do not disturb its clean-up.

Only a command (`guarded`) listens to signals. In other people's programs `held` and `check` do nothing, and
a KeyboardInterrupt is what it always was.

This file is imported before anything that takes time, so it imports little itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, NoReturn

#: What ends a command: Ctrl-C, `kill` and batch systems, a terminal that is closed.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
#: What a shell adds to the number of a signal to make an exit code.
SHELL = 128
#: Seconds that the end of a command waits for a thread that is writing a file.
_PATIENCE = 10.0


class Interrupted(BaseException):
    """A signal. No KeyboardInterrupt: the command line's library has its own answer to that one."""


class _State:
    #: The number of the first signal, 0 before it.
    first = 0
    #: How many `held` blocks the main thread is in, and whether a signal waits for their end.
    holds = 0
    waiting = False
    #: `held` blocks of other threads.
    writers = 0
    #: Whether the command is over: no signal matters any more.
    over = False
    #: File -> what it keeps of the work, in words.
    kept: ClassVar[dict[str, str]] = {}
    lock = threading.Lock()


def _take(number: int, frame: object) -> None:
    """The handler. A signal that somebody swallowed (a finalizer, an import of C code) does not make later
    ones powerless: those are only noted where the first is being handled."""
    if _State.over:
        return
    if not _State.first:
        _State.first = number
    elif _unwinding():
        return
    if _State.holds:
        _State.waiting = True
        return
    raise Interrupted(number)


def _unwinding() -> bool:
    error = sys.exception()
    while error is not None:
        if isinstance(error, Interrupted):
            return True
        error = error.__context__
    return False


def check() -> None:
    """Raises Interrupted where a signal came and was swallowed; called now and then by long work."""
    if _State.first and _is_main() and not _State.over and not _State.holds and not _unwinding():
        raise Interrupted(_State.first)


class held:
    """What is in this block is done whole: a signal that comes meanwhile unwinds at its end, and a command
    does not end while another thread is in one. For short work: to make, to write, to remove."""

    def __enter__(self) -> held:
        self._main = _is_main()
        if self._main:
            _State.holds += 1
            return self
        with _State.lock:
            _State.writers += 1
        return self

    def __exit__(self, *_: object) -> None:
        if not self._main:
            with _State.lock:
                _State.writers -= 1
            return
        _State.holds -= 1
        if _State.waiting and not _State.holds:
            _State.waiting = False
            if not _unwinding():
                raise Interrupted(_State.first)


class unchanged:
    """Whoever listens to signals before this block does so after it: for libraries that listen as well."""

    def __enter__(self) -> unchanged:
        self._before = {number: signal.getsignal(number) for number in SIGNALS} if _is_main() else {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # else it was set by no Python
                signal.signal(number, handler)


def keeps(path: str | os.PathLike[str], what: str) -> None:
    """The file holds so much of the work that the same command goes on from there: said where it is
    interrupted. what: in words that follow "keeps"; none for a file that keeps nothing, or is gone."""
    if what:
        _State.kept[os.fspath(path)] = what
    else:
        _State.kept.pop(os.fspath(path), None)


def left() -> str:
    """What an interrupted command leaves, in words."""
    kept = [f"{path} keeps {what}" for path, what in _State.kept.items() if os.path.lexists(path)]
    if not kept:
        return "nothing is left half-written and nothing is kept: the same command starts anew"
    return f"nothing is left half-written, and {' and '.join(kept)}: the same command goes on"


def guarded(command: Callable[[], int]) -> int:
    """What the command returns; after a signal one line on stderr and 128 + its number, whatever became of
    the exception on its way (imports of C code make another one of it)."""
    before = _listen()
    _State.kept.clear()
    hooks = sys.unraisablehook, threading.excepthook
    if before:
        sys.unraisablehook = _unless_interrupted(hooks[0])
        threading.excepthook = _unless_interrupted(hooks[1])
    try:
        code = command()
        _State.over = bool(before)
    except BaseException:
        _State.over = bool(before)
        if not _State.first:
            raise
    finally:
        for number, handler in before.items() if not _State.first else ():
            signal.signal(number, handler)
        if not _State.first:
            sys.unraisablehook, threading.excepthook = hooks
            _State.over = False
    if not _State.first:
        return code
    say(f"interrupted ({signal.Signals(_State.first).name}): {left()}")
    return SHELL + _State.first


def interrupted() -> bool:
    """Whether a signal came."""
    return bool(_State.first)


def say(line: str) -> None:
    """To stderr; where that is closed or full there is nobody to tell."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
    with suppress(OSError):
        os.write(2, f"znas-engine: {line}\n".encode())


def leave(code: int) -> NoReturn:
    """Ends the process at once: no thread that still works meets an interpreter that is being taken down,
    which aborts ("terminate called without an active exception")."""
    _State.over = True
    patience = time.monotonic() + _PATIENCE
    while _State.writers and time.monotonic() < patience:
        time.sleep(0.01)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):  # what could not be written was said before
                stream.flush()
    os._exit(code)


def _listen() -> dict[int, Any]:
    """The handlers that were there; none where this is not the main thread or a caller listens already. A
    signal that the process was told to ignore (nohup) stays ignored."""
    if not _is_main() or any(signal.getsignal(number) is _take for number in SIGNALS):
        return {}
    before: dict[int, Any] = {}
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, _take)
    return before


def _unless_interrupted(hook: Callable[..., object]) -> Callable[..., None]:
    """Says nothing of what fails in finalizers and threads while a command is being unwound."""

    def quiet(args: object) -> None:
        if not _State.first:
            hook(args)

    return quiet


def _is_main() -> bool:
    return threading.get_ident() == threading.main_thread().ident
