"""Importing a strategy and telling what it raises, with the line of its own file.

Used in the process that runs the user's code; elsewhere only for the shipped strategies.
"""

import hashlib
import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fluxhero.backtest.parameters import Parameter
from fluxhero.errors import BadInputError, StrategyError
from fluxhero.wording import printable

if TYPE_CHECKING:
    from fluxhero.backtest.strategy import Strategy

_PACKAGE: Final = Path(__file__).parents[1]
_OURS: Final = (_PACKAGE, _PACKAGE.with_name("config"))
_LONGEST_TEXT: Final = 300
_CODE_DIGITS: Final = 12


def worker_environment() -> dict[str, str]:
    """For `run_isolated`: where a worker process of ours finds this package, wherever it is installed."""
    return {"PYTHONPATH": str(_PACKAGE.parent)}


def search_path() -> list[str]:
    """Where the user's modules are looked for: the current folder, then wherever this process looks."""
    return [str(Path.cwd()), *(one for one in sys.path if one)]


def look_in(folders: Sequence[str]) -> None:
    """In a worker: also look there, but last, so that a user's `random.py` is nobody's standard library.

    Leaves no compiled files beside the user's.
    """
    sys.dont_write_bytecode = True
    sys.path.extend(one for one in folders if one not in sys.path)


def load(reference: str, parameters: Sequence[tuple[str, Parameter]]) -> "Strategy":
    """Import a strategy's class and make one.

    Args:
        reference: module:Class.
        parameters: what its constructor is given.

    Raises:
        StrategyError: it cannot be imported or made.
    """
    strategy = class_of(reference)
    given = ", ".join(f"{name}={value}" for name, value in parameters)
    with told(f"{reference}({given})"):
        made: Strategy = strategy(**dict(parameters))
        return made


def class_of(reference: str) -> type[Any]:
    """Import the class that module:Class names.

    Raises:
        StrategyError: there is no such module or class, it raises on import, or has no `targets`.
    """
    module_name, _, name = reference.partition(":")
    importlib.invalidate_caches()
    try:
        with told(f"importing {module_name}"):
            module = importlib.import_module(module_name)
    except StrategyError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and _leads_to(module_name, missing.name):
            raise StrategyError(
                f"there is no module {missing.name} in the current folder or on the search path",
                next_step="run the command in the folder that holds it, or put that folder on PYTHONPATH",
            ) from missing
        raise
    found = getattr(module, name, None)
    where = f"{module_name} ({getattr(module, '__file__', None) or 'built in'})"
    if not inspect.isclass(found):
        raise StrategyError(
            f"{where} has no class {name}",
            next_step="name one of its classes; is it the module that was meant?",
        )
    if not callable(getattr(found, "targets", None)):
        raise StrategyError(
            f"{name} of {where} has no method targets",
            next_step="give it `def targets(self, bars)`, as docs/strategies.md shows",
        )
    return found


def _leads_to(module: str, missing: str | None) -> bool:
    return missing is not None and (module == missing or module.startswith(f"{missing}."))


def code_of(strategy: type) -> str:
    """What tells this state of a class's file, and of the user's modules it has imported, from another.

    Empty where it has no file.
    """
    try:
        own = Path(inspect.getfile(strategy))
        whole = hashlib.sha256(own.read_bytes())
        for name, file in _users_modules():
            if file != own:
                whole.update(f"\n{name}\n".encode() + file.read_bytes())
    except (TypeError, OSError):
        return ""
    return whole.hexdigest()[:_CODE_DIGITS]


def _users_modules() -> list[tuple[str, Path]]:
    """Modules that are neither Python's nor an installed package's nor ours, by name."""
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return sorted((name, Path(file)) for name, file in files.items() if file and _is_users(file))


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Turn whatever the user's code raises into an error that shows the line.

    Args:
        doing: what it was about, the subject of the message.

    Raises:
        StrategyError: it raised, or wants to end the process.
    """
    try:
        yield
    except BadInputError:
        raise
    except MemoryError as error:
        raise StrategyError(
            f"{doing} took more memory than it may have",
            next_step="make it need less, give it fewer bars, or raise FLUXHERO_ENGINE_MEMORY_MB",
        ) from error
    except BaseException as error:
        # The user's code may raise anything, SystemExit and KeyboardInterrupt too.
        raise StrategyError(
            f"{doing} raised {_said(error)}{_where(error)}",
            next_step="correct it there, then run again",
        ) from error


def _said(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else _text(error)
    return _cut(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _text(error: BaseException) -> str:
    """What it says, as far as it lets itself be asked."""
    return "".join(traceback.format_exception_only(error)).partition(": ")[2]


def _where(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return _place(error.filename, error.lineno, error.text)
    frames = traceback.extract_tb(error.__traceback__)
    others = [frame for frame in frames if not Path(frame.filename).is_relative_to(_PACKAGE)]
    own = [frame for frame in frames if _is_users(frame.filename)] or others
    return _place(own[-1].filename, own[-1].lineno, own[-1].line) if own else ""


def _place(file: str, line: int | None, text: str | None) -> str:
    return f" at {Path(file).name}, line {line}: {_cut((text or '').strip())}"


def _is_users(file: str) -> bool:
    path = Path(file)
    paths = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    foreign = [*_OURS, *map(Path, paths)]
    return not file.startswith("<") and not any(path.is_relative_to(one) for one in foreign)


def _cut(text: str) -> str:
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= _LONGEST_TEXT else f"{shown[: _LONGEST_TEXT - 1]}…"
