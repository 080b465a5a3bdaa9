"""Jinja templates that strangers wrote: no way to Python, no way to the platform, and a limit on what they may use.

Jinja's sandbox keeps a template from reaching Python's internals, but lets it take any amount of time and memory.
Here a template is rewritten before it is compiled, so that each loop, call, filter and literal pays from a `Budget`,
and what could make a large value at once (a width, a factor, a power) is checked before it happens.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, LoopContext, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from graphs.blocks.base import BlockError

MAX_TEMPLATE = 100_000
MAX_TEXT = 2_000_000
MAX_STEPS = 1_000_000
MAX_SECONDS = 2.0
MAX_BITS = 20_000
MAX_STRIPPED = 100_000
MAX_GROUPS = 10_000
_REMOVED = ("pprint", "tojson", "urlize", "xmlattr")
_CACHED_LENGTH = 10_000
_CHARACTERS_PER_STEP = 64
_WIDE_PRINTF = re.compile(r"%[^%a-zA-Z]*(?:\d{5}|\*)")
_WIDE_FORMAT = re.compile(r"\d{5}|:[^}]*\{")


class TemplateFailed(BlockError):
    """A template is malformed, fails while it is filled, or wants too much."""


class Budget:
    """What one rendering may still use: steps of work, and time."""

    def __init__(self) -> None:
        """Start with everything."""
        self.steps = MAX_STEPS
        self.deadline = time.monotonic() + MAX_SECONDS

    def spend(self, steps: int) -> None:
        """Take `steps`; raises `SecurityError` when there are none left."""
        self.steps -= steps
        if self.steps < 0 or time.monotonic() > self.deadline:
            raise SecurityError("the template takes too much work")


_budget: ContextVar[Budget] = ContextVar("budget")


def render(template: str, values: Mapping[str, Any], *, escape_html: bool = False) -> str:
    """`template` filled with `values`; with `escape_html` values are made safe for HTML.

    Only Jinja's own syntax, filters and tests are there: no globals, no other templates. Unknown names are empty.
    Raises `TemplateFailed` with the line for a malformed template, for whatever goes wrong while it is filled, and
    when it would take more than a million steps or make a text of more than two million characters.
    """
    if len(template) > MAX_TEMPLATE:
        raise TemplateFailed(f"the template has {len(template)} characters; the limit is {MAX_TEMPLATE}")
    token = _budget.set(Budget())
    try:
        compiled = (_cached if len(template) <= _CACHED_LENGTH else _compile)(template, escape_html)
        return str(compiled.render(values))
    except TemplateError as error:
        line = f"line {error.lineno}: " if isinstance(error, TemplateSyntaxError) else ""
        raise TemplateFailed(f"template: {line}{error.message}") from None
    except RecursionError:
        raise TemplateFailed("template: it is nested too deeply") from None
    # A template can make any operation fail in any way, and each is the template's fault.
    except Exception as error:
        raise TemplateFailed(f"template: {type(error).__name__}: {error}") from None
    finally:
        _budget.reset(token)


def _compile(template: str, escape_html: bool) -> Template:
    return (_ESCAPING if escape_html else _PLAIN).from_string(template)


_cached = lru_cache(maxsize=512)(_compile)


class _Metered(NodeTransformer):
    """Makes the parts of a template that repeat or build something pay for it."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """Change the parts of a node, then the node."""
        self.generic_visit(node, *args, **kwargs)
        if isinstance(node, nodes.For) and isinstance(node.iter, nodes.Expr):
            node.iter = _filtered(node.iter, " loop")
        if isinstance(node, (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)):
            node.body.insert(0, _pay(node.body))
        elif isinstance(node, nodes.Concat):
            return _filtered(nodes.List(node.nodes, lineno=node.lineno), " concat")
        elif isinstance(node, (nodes.List, nodes.Dict)) or (isinstance(node, nodes.Tuple) and node.ctx == "load"):
            return _filtered(node, " literal")
        elif isinstance(node, nodes.Compare):
            node.expr = _filtered(node.expr, " compared")
            for operand in node.ops:
                operand.expr = _filtered(operand.expr, " compared")
        return node


def _filtered(node: nodes.Expr, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    # Names that start with a space cannot be written in a template.
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)


def _pay(body: list[nodes.Node]) -> nodes.ExprStmt:
    size = 1 + sum(1 for part in body for _ in part.find_all(nodes.Node))
    return nodes.ExprStmt(_filtered(nodes.Const(size, lineno=1), " pay"), lineno=1)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a budget."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, autoescape: bool) -> None:
        # Constants stay unfolded: what is computed while compiling would not be paid for at each use.
        super().__init__(autoescape=autoescape, optimized=False, finalize=_measured, cache_size=0)
        self.globals.clear()
        self.filters = {name: _metered(name, call) for name, call in FILTERS.items() if name not in _REMOVED}
        self.filters.update(_OWN_FILTERS)
        self.concat = _joined  # type: ignore[method-assign]

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Metered().visit(tree)
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Check what an operator would make, then make it."""
        if operator == "*":
            _check_product(left, right)
        elif operator == "**":
            if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > MAX_BITS:
                raise SecurityError("the power is too large")
        elif operator == "%" and isinstance(left, str):
            _check_printf(left, right)
        elif operator == "+" and not isinstance(left, (int, float)):
            _check_length(_measure(left) + _measure(right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Check what a call would make, then make it."""
        _spend(1)
        if isinstance(function, LoopContext):
            _measure(args)
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str):
            _check_method(owner, function.__name__, args)
        elif isinstance(owner, (list, dict, tuple)):
            _spend(len(owner))
        return super().call(context, function, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Let `str.format` make no wide fields."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        text: str = value.__self__

        def checked(*args: Any, **kwargs: Any) -> str:
            if _WIDE_FORMAT.search(text):
                raise SecurityError("the format has a field that is too wide")
            _check_length(_measure(args) + _measure(kwargs) + len(text))
            return wrapped(*args, **kwargs)

        return checked


def _spend(steps: int) -> None:
    _budget.get().spend(steps)


def _measure(value: Any) -> int:
    """About how long `value` is as text, paying for the look. Shared parts count each time, as in their text."""
    if isinstance(value, str):
        length = len(value)
    elif isinstance(value, int):
        length = value.bit_length() // 3 + 1
    elif isinstance(value, (list, tuple, dict, set, frozenset)):
        _spend(len(value))
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        length = sum(_measure(part) + 2 for part in parts) + 2
    else:
        length = 24
    _spend(length // _CHARACTERS_PER_STEP)
    return length


def _measured(value: Any) -> Any:
    _check_length(_measure(value))
    return value


def _check_length(length: int) -> None:
    if length > MAX_TEXT:
        raise SecurityError(f"the template makes a text of more than {MAX_TEXT} characters")


def _check_product(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_BITS:
            raise SecurityError("the product is too large")
        return
    for sequence, factor in ((left, right), (right, left)):
        if isinstance(sequence, (str, list, tuple)) and isinstance(factor, int):
            _check_length(_measure(sequence) * factor)
            if not isinstance(sequence, str):
                _spend(len(sequence) * max(factor, 0))


def _check_printf(pattern: str, value: Any) -> None:
    if _WIDE_PRINTF.search(pattern):
        raise SecurityError("the format has a field that is too wide")
    _check_length(len(pattern) + _measure(value))


def _check_method(text: str, name: str, args: tuple[Any, ...]) -> None:
    """Refuse methods of a text that would make a huge one of it."""
    _measure(args)
    _spend(len(text) // _CHARACTERS_PER_STEP)
    widths = [argument for argument in args if isinstance(argument, int)]
    if name in ("translate", "maketrans"):
        raise SecurityError(f"{name} is not allowed")
    if name in ("center", "ljust", "rjust", "zfill", "expandtabs") and widths:
        _check_length(len(text) + max(widths) * (text.count("\t") if name == "expandtabs" else 1))
    elif name == "replace" and len(args) > 1:
        _check_replacement(text, args[0], args[1])
    elif name == "join" and args:
        _check_length(_measure(args[0]) + len(text) * _size(args[0]))


def _check_replacement(text: str, old: Any, new: Any) -> None:
    _check_length(len(text) + text.count(str(old)) * len(str(new)))


def _size(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else MAX_GROUPS


def _metered(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that pays for what it is given and what it makes, and is checked first where that could be huge."""
    check = _FILTER_CHECKS.get(name)
    # Filters that ask for the environment or the context get it before the value.
    first = 1 if hasattr(call, "jinja_pass_arg") else 0

    @wraps(call)
    def metered(*args: Any, **kwargs: Any) -> Any:
        _spend(1)
        _measure(args[first:])
        if check is not None:
            check(*args[first:], **kwargs)
        made = call(*args, **kwargs)
        return _counted(made) if isinstance(made, Iterator) else _measured(made)

    return metered


def _counted(items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        _spend(1)
        yield item


def _check_groups(value: Any, count: int, *args: Any, **kwargs: Any) -> None:
    if int(count) > MAX_GROUPS:
        raise SecurityError(f"more than {MAX_GROUPS} groups")


def _check_center(value: Any, width: int = 80) -> None:
    _check_length(int(width))


def _check_indent(value: Any, width: Any = 4, *args: Any, **kwargs: Any) -> None:
    by = len(width) if isinstance(width, str) else int(width)
    _check_length(len(str(value)) + by * (str(value).count("\n") + 1))


def _check_wordwrap(value: Any, width: int = 79, long: bool = True, wrapstring: Any = None, **kwargs: Any) -> None:
    _check_length(len(str(value)) * (1 + len(wrapstring or "\n")))


def _check_replace(value: Any, old: Any, new: Any, *args: Any, **kwargs: Any) -> None:
    _check_replacement(str(value), old, new)


def _check_join(value: Any, d: Any = "", *args: Any, **kwargs: Any) -> None:
    _check_length(_measure(value) + len(str(d)) * _size(value))


def _check_round(value: Any, precision: int = 0, *args: Any, **kwargs: Any) -> None:
    if abs(precision) > 100:
        raise SecurityError("round takes at most 100 digits")


def _check_striptags(value: Any) -> None:
    if len(str(value)) > MAX_STRIPPED:
        raise SecurityError(f"striptags takes at most {MAX_STRIPPED} characters")


def _check_sum(value: Any, attribute: Any = None, start: Any = 0) -> None:
    if not isinstance(start, (int, float)):
        raise SecurityError("sum adds numbers only")


_FILTER_CHECKS: dict[str, Callable[..., None]] = {
    "batch": _check_groups,
    "slice": _check_groups,
    "center": _check_center,
    "indent": _check_indent,
    "wordwrap": _check_wordwrap,
    "replace": _check_replace,
    "join": _check_join,
    "round": _check_round,
    "striptags": _check_striptags,
    "sum": _check_sum,
}


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    """Print a number in a format (`3.14159|format("%.2f")`), or fill a format as Jinja does (`"%d"|format(3)`)."""
    numeric = len(args) == 1 and isinstance(args[0], str) and "%" in args[0] and "%" not in str(value)
    pattern, filling = (args[0], float(value)) if numeric else (str(value), kwargs or args)
    _check_printf(pattern, filling)
    return str(pattern % filling)


def _loop(items: Any) -> Any:
    if isinstance(items, Iterator):
        return _counted(items)
    _spend(_size(items))
    return items


def _compared(value: Any) -> Any:
    if isinstance(value, (str, list, tuple, dict)):
        _spend(len(value) // 16)
    return value


def _pay_now(steps: int) -> int:
    _spend(steps)
    return steps


@pass_eval_context
def _concat(context: EvalContext, parts: list[Any]) -> str:
    _check_length(sum(map(_measure, parts)))
    return str_join(parts) if not context.autoescape else markup_join(parts)


def _joined(parts: Any) -> str:
    """Join what a template or a part of it has written."""
    texts: list[str] = []
    length = 0
    for part in parts:
        length += len(part)
        _check_length(length)
        texts.append(part)
    return "".join(texts)


_OWN_FILTERS: dict[str, Callable[..., Any]] = {
    "format": _format,
    " loop": _loop,
    " literal": _measured,
    " concat": _concat,
    " compared": _compared,
    " pay": _pay_now,
}
_PLAIN = _Environment(autoescape=False)
_ESCAPING = _Environment(autoescape=True)
