"""Exceptions as one line on stderr and an exit status."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from lstmcore.errors import DeviceError, InputError, LstmcoreError, UnknownBackendError, WeightsAloneError

DEBUG = "LSTMCORE_DEBUG"

INTERRUPTED = 130
_WITH_SPEC = (
    "On the command line: lstmcore convert FILE model.safetensors --spec SPEC, which makes a file that every command "
    "takes. SPEC is what model.to_json() gives, in a .json, or any file with such a model."
)


class CommandFailed(click.ClickException):
    """Told as it is, ``Error: ...`` on stderr; exit status 1."""

    exit_code = 1


class CalledWrongly(CommandFailed):
    """The same for what another call would have avoided; exit status 2."""

    exit_code = 2


FAILURES: tuple[tuple[type[Exception], type[CommandFailed]], ...] = (
    (UnknownBackendError, CalledWrongly),
    (DeviceError, CalledWrongly),
    (InputError, CalledWrongly),
    (Exception, CommandFailed),
)
"""The first row that matches says how an exception is told."""


def debugging() -> bool:
    """Whether tracebacks and the engines' own messages are wanted."""
    return os.environ.get(DEBUG, "") not in ("", "0")


@contextmanager
def reported() -> Iterator[None]:
    """Within it, exceptions become CommandFailed; click's own, and a broken pipe, are left to click."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort) as error:
        if debugging() and error.__cause__ is not None:
            traceback.print_exc()
        raise
    except KeyboardInterrupt:
        click.echo(err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise
        if debugging():
            traceback.print_exc()
        raise failure(error) from error


def failure(error: Exception) -> CommandFailed:
    """An exception as one that click tells."""
    return next(told for kind, told in FAILURES if isinstance(error, kind))(_words(error))


def _words(error: Exception) -> str:
    if isinstance(error, WeightsAloneError):
        return f"{error}\n{_WITH_SPEC}"
    if isinstance(error, LstmcoreError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return f"{type(error).__name__}: {error} ({DEBUG}=1 shows where.)"
