import time
import tracemalloc
from typing import Any

import pytest

from graphs.blocks.sandbox import MAX_TEMPLATE, MAX_TEXT, TemplateFailed, render

ORDINARY = [
    ("{{ a }}", "1"),
    ("{{ nothing }}", ""),
    ("{{ user.name|upper }} {{ user['name'] }}", "ADA Ada"),
    ("{% for row in rows %}{{ loop.index }}/{{ loop.length }}:{{ row.n }} {% endfor %}", "1/2:1 2/2:2 "),
    ("{% for key, value in user.items() %}{{ key }}={{ value }}{% endfor %}", "name=Ada"),
    ("{% for row in rows if row.n > 1 %}{{ row.n }}{% else %}none{% endfor %}", "2"),
    ("{% for row in tree recursive %}{{ row.v }}{{ loop(row.kids) }}{% endfor %}", "123"),
    ("{% if a == 1 and a in [1, 2] %}yes{% else %}no{% endif %}", "yes"),
    ("{{ rows|map(attribute='n')|join(', ') }}", "1, 2"),
    ("{{ rows|selectattr('n', 'gt', 1)|list|length }}", "1"),
    ("{{ rows|sum(attribute='n') }}", "3"),
    ("{{ [3, 1, 2]|sort|join }}", "123"),
    ("{{ a ~ '-' ~ user.name }}", "1-Ada"),
    ("{% set greeting = 'Hi ' ~ user.name %}{{ greeting }}", "Hi Ada"),
    ("{% set x %}in {{ a }}{% endset %}{{ x }}", "in 1"),
    ("{% macro bold(text) %}<b>{{ text }}</b>{% endmacro %}{{ bold('x') }}{{ bold(a) }}", "<b>x</b><b>1</b>"),
    ("{% filter upper %}text{% endfilter %}", "TEXT"),
    ("{{ 'x' * 3 }} {{ 2 ** 10 }} {{ 7 % 4 }} {{ [1] + [2] }} {{ 1 + 1 }}", "xxx 1024 3 [1, 2] 2"),
    ("{{ '%05.1f|%s' % (2.25, 'a') }} {{ '{:>4}'.format('a') }}", "002.2|a    a"),
    ("{{ 3.14159|format('%.2f') }} {{ '2'|format('%.1f') }} {{ '%s is %d'|format('a', 1) }}", "3.14 2.0 a is 1"),
    ("{{ 'a,b'.split(',')|join('+') }} {{ ' x '.strip() }} {{ 'aXa'.replace('X', '-') }}", "a+b x a-a"),
    ("{{ 'text'|center(8) }}|{{ 'a\nb'|indent(2) }}", "  text  |a\n  b"),
    ("{{ 2.567|round(1) }} {{ 'b a'|title }} {{ '<i>x</i>'|striptags }}", "2.6 B A x"),
    ("{% raw %}{{ untouched }}{% endraw %}{# gone #}", "{{ untouched }}"),
    ("{{ {'k': [1, (2, 3)]} }}", "{'k': [1, (2, 3)]}"),
    ("{{ none is none }} {{ a is defined }} {{ b is defined }}", "True True False"),
]
VALUES = {
    "a": 1,
    "user": {"name": "Ada"},
    "rows": [{"n": 1}, {"n": 2}],
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}]}, {"v": 3, "kids": []}],
}
ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ [''.__class__]|first }}",
    "{{ rows|map(attribute='__class__')|join }}",
    "{{ rows|map('attr', '__class__')|join }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__ }}",
    "{{ namespace.__init__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ joiner }}{{ dict }}",
    "{{ range(3) }}",
    "{{ loop.__class__ }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}{{ m._func }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{0.__class__.__mro__}'.format_map({'0': 1}) }}",
    "{{ ['{0.__class__}']|map('format', 1)|list }}",
    "{{ ('{0.__class__}'|string).format(1) }}",
    "{{ rows.append(1) }}",
    "{{ rows.pop() }}",
    "{{ user.update({'x': 1}) }}",
    "{{ user.clear() }}",
    "{% include 'x' %}",
    "{% import 'os' as os %}{{ os }}",
    "{% extends '/etc/passwd' %}",
    "{% from 'x' import y %}",
    "{{ ''.join.__self__ }}",
    "{{ (1).__class__ }}",
    "{{ config }}{{ request }}{{ settings }}",
    "{{ rows|pprint }}",
    "{{ rows|tojson }}",
    "{{ a| pay }}",
    "{{ a|' pay' }}",
]
HUNGRY = [
    "{{ 'a' * 1000000000 }}",
    "{{ 1000000000 * 'a' }}",
    "{{ ['a' * 1000] * 10000000 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ 9 ** 999999999 }}",
    "{{ 2 ** 10000 * 2 ** 15000 }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%*d' % (999999999, 1) }}",
    "{{ '%999999999d'|format(1) }}",
    "{{ 1|format('%999999999d') }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ '{:{w}}'.format(1, w=999999999) }}",
    "{{ 'a'|center(999999999) }}",
    "{{ 'a'.center(999999999) }}",
    "{{ 'a'.ljust(999999999) }}",
    "{{ 'a'.rjust(999999999) }}",
    "{{ 'a'.zfill(999999999) }}",
    "{{ 'a\tb'.expandtabs(999999999) }}",
    "{{ 'a\nb'|indent(999999999) }}",
    "{{ ('a' * 100000)|replace('a', 'b' * 100000) }}",
    "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "{{ ('a' * 100000).replace('', 'b' * 100000) }}",
    "{{ ('a' * 100000).translate({97: 'b' * 100000}) }}",
    "{{ ('x' * 100000).join('y' * 100000) }}",
    "{{ ('y' * 100000)|join('x' * 100000) }}",
    "{{ ('a ' * 100000)|wordwrap(1, true, 'b' * 100000) }}",
    "{{ [1]|batch(999999999, 'x')|list }}",
    "{{ [1]|slice(999999999)|list }}",
    "{{ 1.5|round(999999999, 'ceil') }}",
    "{{ ('<' * 1000000)|striptags }}",
    "{{ (rows * 100)|map(attribute='big')|sum(start=[]) }}",
    "{% set x = 'aaaaaaaa' %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}",
    "{% set x = 'aaaaaaaa' %}" + "{% set x = x + x %}" * 60 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = (x, x) %}" * 60 + "{{ x == x }}",
    "{% set x = [1] %}" + "{% set x = {'a': x, 'b': x} %}" * 60 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = x + x %}" * 60 + "{{ x|length }}",
    "{% set x = 'aaaaaaaa' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60 + "{{ x }}",
    "{% set x = [1, 1] %}" + "{% set x = [x, x]|list %}" * 60 + "{{ x|string }}",
    "".join("{% for " + name + " in 'aaaaaaaaaaaaaaaaaaaa' %}" for name in "abcdefghij") + "{% endfor %}" * 10,
    "".join("{% for " + name + " in many %}" for name in "abcdef") + "x" + "{% endfor %}" * 6,
    "{% for a in many %}{% for b in many if b == '' %}{% endfor %}{% endfor %}" * 30,
    "{% for a in many %}{% if many == more %}{% endif %}{% endfor %}" * 300,
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for x in [[1, 1]] recursive %}{{ loop([[1, 1], [1, 1]]) }}{% endfor %}",
    "{% block b %}{{ self.b() }}{{ self.b() }}{% endblock %}",
    "{% macro f(n) %}{% if n %}{% call f(n - 1) %}{% endcall %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for a in many %}{% for b in many %}{{ text }}{% endfor %}{% endfor %}",
    "{% for a in many %}{{ text|upper|lower|title }}{% endfor %}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% if a %}" * 2000 + "{% endif %}" * 2000,
    "{{ " + "[" * 500 + "]" * 500 + " }}",
    "{{ " + "9" * 5000 + " }}",
    "{{ 'a' " + "~ 'a' " * 20000 + "}}",
]
HUNGRY_VALUES = {
    "a": 1,
    "many": [""] * 1000,
    "more": [""] * 1000,
    "text": "x" * 500_000,
    "rows": [{"big": [0] * 1000}] * 100,
}


@pytest.mark.parametrize(("template", "text"), ORDINARY)
def test_an_ordinary_template_gives_what_jinja_gives(template: str, text: str):
    assert render(template, VALUES) == text


@pytest.mark.parametrize("template", ESCAPES)
def test_a_template_never_reaches_python(template: str):
    try:
        text = render(template, VALUES)
    except TemplateFailed:
        return
    # What is not refused is unknown, and unknown is empty.
    assert text == ""


@pytest.mark.parametrize("template", HUNGRY, ids=range(len(HUNGRY)))
def test_a_hungry_template_ends_soon_with_little_memory(template: str):
    tracemalloc.start()
    started = time.monotonic()
    try:
        text = render(template, HUNGRY_VALUES)
    except TemplateFailed:
        text = ""
    seconds = time.monotonic() - started
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(text) <= MAX_TEXT
    # Tracing memory makes everything several times slower; machines that run tests are busy.
    assert seconds < 5
    assert most < 100_000_000


def test_html_is_escaped_on_request_only():
    assert render("{{ x }}{{ x ~ 'y' }}{{ x|safe }}", {"x": "<"}) == "<<y<"
    assert render("{{ x }}{{ x ~ 'y' }}{{ x|safe }}", {"x": "<"}, escape_html=True) == "&lt;&lt;y<"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("one\n{% if %}", "template: line 2: Expected an expression, got 'end of statement block'"),
        ("{{ a.b.c }}", "template: 'int object' has no attribute 'b'"),
        ("{{ missing.name }}", "template: 'missing' is undefined"),
        ("{{ 1 / 0 }}", "template: ZeroDivisionError: division by zero"),
        ("{{ a|nosuch }}", "template: line 1: No filter named 'nosuch'."),
        ("x" * (MAX_TEMPLATE + 1), "the template has 100001 characters; the limit is 100000"),
        ("{{ 'a' * 3000000 }}", "template: the template makes a text of more than 2000000 characters"),
    ],
)
def test_a_failing_template_says_why(template: str, message: str):
    with pytest.raises(TemplateFailed) as failure:
        render(template, {"a": 1})
    assert str(failure.value) == message


def test_the_budget_is_enough_for_a_large_report():
    rows: list[dict[str, Any]] = [{"name": f"row {number}", "value": number * 1.5} for number in range(5000)]
    template = (
        "{% for row in rows %}{% if row.value > 10 %}{{ loop.index }}. {{ row.name|upper }}: "
        "{{ '%.2f' % row.value }} {{ row.value|round(1) }}\n{% endif %}{% endfor %}"
    )

    assert render(template, {"rows": rows}).count("\n") == 4993
