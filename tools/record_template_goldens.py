#!/usr/bin/env python3
"""Records what Jinja2 renders for many small chat templates.

    python3 tools/record_template_goldens.py > src/text/testdata/templates.jsonl

Needs jinja2 >= 3.1.6. The environment is the one chat templates run in: the immutable sandbox with
trim_blocks, lstrip_blocks and loop controls, json.dumps as tojson, raise_exception, strftime_now, and
the generation block. Each line is {"template", "vars", "output"} or {"template", "vars", "error"};
an error is "raised: TEXT" where the template raised it itself and the exception's name otherwise.
The clock shows 2024-07-26T12:00:00.
"""

import datetime
import json
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = datetime.datetime(2024, 7, 26, 12, 0, 0)

MESSAGES = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi <b>there</b>!"},
        {"role": "assistant", "content": "Hello", "tool_calls": [{"name": "f", "arguments": {"x": 1}}]},
    ],
    "add_generation_prompt": True,
    "bos_token": "<s>",
    "eos_token": "</s>",
}
TOOL = {"type": "function", "function": {"name": "add", "description": "Adds é \"x\"\n", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": ["number", "null"], "default": 1.5}},
    "required": ["a"], "empty": {}, "none": None, "flag": True, "list": []}}}
USERS = {"users": [{"name": "Bob", "age": 31, "mail": None, "address": {"city": "Rome"}, "tags": ["x", "y"]},
                   {"name": "alice", "age": 25, "mail": "a@b", "address": {"city": "Oslo"}, "tags": []},
                   {"name": "Carl", "age": 31, "address": {"city": "rome"}, "tags": ["z"]}]}

CASES = []


def case(template, **variables):
    CASES.append((template, variables))


def expr(*expressions, **variables):
    for expression in expressions:
        case("{{ " + expression + " }}", **variables)


# --- literals, printing
expr("1", "-1", "0", "007 if false else 8", "1_000", "0x1F", "0b101", "0o17", "1.0", "1.5e3", "1e16", "1e15",
     "1e-4", "1e-5", "123456789012345680.0", "0.1", "1e22", "1.7976931348623157e308", "5e-324", "100.0", "-0.0",
     "true", "false", "none", "True", "False", "None", "'a'", '"b"', "'a' 'b' \"c\"", "[]", "[1]", "[1, 'a', none, true, 1.0]",
     "()", "(1,)", "(1, 2)", "1, 2", "{}", "{'a': 1}", "{'a': {'b': [1, (2,)]}, 2: 'x', none: true}", "[1, 2,]", "{'a': 1,}",
     "['it\\'s']", "['say \"x\"']", "['both \\' and \"']", "['tab\\t nl\\n back\\\\']", "['é ü 日本 😀']", "['\\x00\\x7f\\xa0\\u200b']",
     "'\\n\\t\\\\\\'\\\"\\a\\b\\f\\v\\r'", "'\\x41\\u00e9\\U0001F600'", "'\\101\\60'", "'\\q\\z'", "'a\\\nb'", "undefined_name",
     "[undefined_name]", "[true, [none]]", "'%s' % 'x'", "9223372036854775807", "-9223372036854775807", "'\\é'", "{'k': undefined_name}")
expr("x", x="text")
expr("x", x=["a", {"b": "c'd"}])
expr("x", x=None)
expr("x", x=1.0)
expr("x", x={"é": "\u2028"})
expr("x is defined", "y is defined", "x is undefined", "x.a", "x.b", "x.b is defined", "x['a']", "x['b'] is defined", "x.a.b", "y.a",
     "x.a.b.c", "y", "y|default('d')", "x.b|d('e')", "x.get('a')", "x.get('b')", "x.get('b', 'c')", x={"a": 1})

# --- operators
expr("1 + 2", "3 - 5", "2 * 3", "7 / 2", "6 / 2", "7 // 2", "-7 // 2", "7 // -2", "7 % 3", "-7 % 3", "7 % -3", "2 ** 10", "2 ** -1",
     "2 ** 3 ** 2", "-2 ** 2", "7.5 // 2", "-7.5 % 2", "7.5 % -2", "1 + 2 * 3", "(1 + 2) * 3", "10 - 2 - 3", "2 * 3 % 4", "1 / 3",
     "1 + 1.0", "true + true", "3 * 'ab'", "'ab' * 3", "'ab' * -1", "[1] * 2", "(1,) * 2", "[1] + [2]", "(1,) + (2,)", "'a' + 'b'",
     "'a' ~ 1 ~ none ~ true ~ 1.5", "1 ~ 2 + 3", "'a' ~ 1 * 2", "'x' ~ undefined_name ~ 'y'", "-(-3)", "+3", "- -3", "+true", "-true",
     "1e308 * 10", "0.1 + 0.2", "5 // 0.3", "2 ** 0.5", "1.5 + 2", "10 ** 18", "7 // 7.0", "0.0 // 1", "-1 // 3.0", "2.0 ** 3")
expr("1 == 1.0", "1 == true", "'a' == 'a'", "[1, 2] == [1, 2]", "[1] == (1,)", "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "none == none",
     "none == false", "0 == false", "'' == false", "1 != 2", "1 < 2 < 3", "1 < 3 < 2", "3 > 2 > 1 > 0", "1 == 1 == 1", "'a' < 'b'",
     "'Z' < 'a'", "[1, 2] < [1, 3]", "[1] < [1, 0]", "(1, 2) >= (1, 2)", "1 <= 1.0", "9007199254740993 == 9007199254740992.0",
     "9007199254740993 > 9007199254740992.0", "undefined_name == other", "undefined_name == none", "undefined_name != 1", "1 < 2 == true",
     "range(3) == range(0, 3)", "'é' > 'z'", "[[1], [2]] < [[1], [3]]", "1 < 2 > 0 != 5", "1 in [1] == true")
expr("1 in [1, 2]", "3 in [1, 2]", "3 not in [1, 2]", "'a' in 'abc'", "'' in ''", "'a' in {'a': 1}", "1 in {'a': 1}", "2 in range(5)",
     "5 in range(5)", "3 in range(1, 9, 2)", "4 in range(1, 9, 2)", "7 in range(9, 0, -2)", "8 in range(9, 0, -2)", "1.0 in [1]", "none in [none]", "not 1 in [2]", "1 in (1, 2)",
     "undefined_name in [1]", "1 in undefined_name", "'a' in ['ab']", "[1] in [[1]]", "(1, 'a') in [(1, 'a')]", "1 in {1: 2}.values()",
     "'a' in {'a': 2}.keys()", "('a', 2) in {'a': 2}.items()")
expr("true and false", "1 and 2", "0 and 2", "1 or 2", "0 or 2", "'' or 'x'", "not true", "not ''", "not not 1", "not 1 == 2",
     "true and not false", "none or false", "1 and '' or 'z'", "false or none", "[] or {} or ()", "undefined_name or 'u'",
     "undefined_name and 'u'", "not undefined_name")
expr("'a' if true else 'b'", "'a' if false else 'b'", "'a' if false", "('a' if false) is defined", "1 if 0 else 2 if 0 else 3",
     "(1 if 1 else 2) + 1", "1 if 1 else 2 + 1", "'x' if undefined_name else 'y'", "'x' ~ ('y' if true else 'z')", "[1 if true else 2, 3]",
     "1 if true if false else 2")

# --- subscripts, slices
expr("'abc'[0]", "'abc'[-1]", "'abc'[5]", "'aéb'[1]", "'aéb'[-2]", "[1, 2, 3][1]", "[1, 2, 3][-3]", "[1, 2, 3][3]", "[1, 2, 3][-4] is defined",
     "'abc'[1:]", "'abc'[:-1]", "'abc'[::-1]", "'abcdef'[1:5:2]", "'abcdef'[5:1:-2]", "'abcdef'[-2:]", "'abcdef'[10:]", "'abcdef'[:100]",
     "'日本語😀'[1:3]", "'日本語😀'[::-1]", "'日本語😀'[::2]", "[1, 2, 3, 4][1:3]", "[1, 2, 3, 4][::-1]", "(1, 2, 3)[1:]", "[1, 2, 3][:]", "[1, 2, 3][::2]", "[1,2,3][-100:100]",
     "[1,2,3][100:-100:-1]", "range(10)[2:5]|list", "range(10)[::-3]|list", "range(10)[3]", "range(10)[-1]", "range(3)[7] is defined", "[1, 2][true]", "{'a': 1}['a']", "{1: 'x'}[1]",
     "{1: 'x'}[1.0]", "{'a': [1, {'b': 2}]}.a[1].b", "[[1, 2], [3]][0][1]", "[1, 2].0", "[[5]].0.0", "'abc'[none:2]", "(1,2)[0]", "[1,2]['x'] is defined",
     "{'a': 1}[undefined_name] is defined", "'abc'['upper']()", "{'items': 5}.items", "{'items': 5}['items']", "{}['items']()|list", "'x'.foo is defined",
     "[1,2,3][1:][0]", "'abcdef'[1:][:2]", "none.foo is defined", "(5).foo is defined", "'abc'[undefined_name] is defined")

# --- string methods
expr("' a b '.strip()", "'xxaxx'.strip('x')", "'xyaxy'.lstrip('yx')", "'abc  '.rstrip() ~ '|'", "'\\u00a0a\\u3000'.strip()", "'a,b,,c'.split(',')",
     "' a  b c '.split()", "'a b c'.split(' ', 1)", "'a  b  c'.split(none, 1)", "'a b c'.split(maxsplit=1)", "' a  b  c '.split(none, 1)", "' a b '.split(none, 5)", "' a b '.rsplit(none, 5)", "' a b '.split(none, 0)", "'a,b,c'.rsplit(',', 1)", "' a b  c '.rsplit(none, 1)",
     "''.split()", "''.split(',')", "'abc'.split('</think>')[-1]", "'a</think>b'.split('</think>')[-1].lstrip('\\n')", "'aXbX'.split('X')", "'a\\nb\\r\\nc\\x0bd'.splitlines()",
     "'a\\nb\\n'.splitlines(true)", "'abc'.startswith('ab')", "'abc'.startswith(('x', 'a'))", "'abc'.endswith('bc')", "'abc'.endswith('x')", "'abc'.startswith('b', 1)",
     "'abcabc'.replace('b', 'X')", "'abcabc'.replace('b', 'X', 1)", "'abc'.replace('', '-')", "'abc'.replace('', '-', 2)", "'é'.replace('', '.')", "'aaa'.replace('aa', 'b')",
     "'Hello World'.upper()", "'Straße ŉ'.upper()", "'ÀÉ'.lower()", "'ΑΣ ΣΑΣ'.lower()", "'hello world'.title()", "\"they're bill's\".title()", "'hELLO'.capitalize()", "'ǆabc'.capitalize()",
     "'Hello'.swapcase()", "'Straße'.casefold()", "'abcabc'.find('c')", "'abcabc'.find('c', 3)", "'abcabc'.rfind('a')", "'abc'.find('x')", "'日本'.find('本')", "'日本本'.rfind('本')", "'abc'.index('b')", "'aaaa'.count('aa')",
     "'abc'.count('')", "', '.join(['a', 'b'])", "''.join([])", "'-'.join('abc')", "'a'.center(5) ~ '|'", "'ab'.center(5, '*')", "'abc'.center(6, '*')", "'a'.ljust(3) ~ '|'", "'a'.rjust(3)", "'7'.zfill(3)", "'-7'.zfill(4)",
     "'a-b-c'.partition('-')", "'a-b-c'.rpartition('-')", "'abc'.partition('x')", "'abc'.rpartition('x')", "'prefix-x'.removeprefix('prefix-')", "'x.txt'.removesuffix('.txt')",
     "'abc'.isalpha()", "'ab1'.isalnum()", "'123'.isdigit()", "'١٢'.isdigit()", "'²'.isdigit()", "'²'.isdecimal()", "' \\t'.isspace()", "''.isspace()", "'abc'.islower()", "'ABC1'.isupper()",
     "'Abc Def'.istitle()", "'abc'.isidentifier()", "'1a'.isidentifier()", "'abc'.isascii()", "'é'.isascii()", "'a\\tb'.expandtabs(4)", "'a\\x00'.isprintable()",
     "'{} and {}'.format(1, 'x')", "'{0}{1}{0}'.format('a', 'b')", "'{a}-{b}'.format(a=1, b=none)", "'{:>5}|{:<5}|{:^5}|{:05d}'.format(1, 2, 3, 42)", "'{:.2f} {:e} {:g} {:%}'.format(3.14159, 1234.5, 0.0001, 0.25)",
     "'{:,}'.format(1234567)", "'{:x} {:X} {:o} {:b} {:#x}'.format(255, 255, 8, 5, 255)", "'{{}}'.format()", "'{!r} {!s}'.format('a', 'b')", "'{0.a} {0[b]}'.format({'a': 1, 'b': 2})", "'{:*^9}'.format('mid')", "'{:+d} {: d}'.format(5, 5)", "'{:.3}'.format('abcdef')", "'{:10.3f}|'.format(2.0)", "'{}'.format(1.0)", "'{:d}'.format(true)",
     "'%d items, %s, %5.2f, %-5s|, %05d, %x, %%' % (3, 'a', 2.5, 'b', 42, 255)", "'%s' % none", "'%r' % 'x'", "'%s and %s' % ('a', [1])", "'%(a)s-%(b)d' % {'a': 1, 'b': 2}", "'%5s|%-5s|' % ('ab', 'cd')", "'%+d % d' % (1, 2)", "'%e %G %g' % (1234.5, 1e-10, 100000.0)", "'%c%c' % (65, 'b')", "'%.3s' % 'abcdef'", "'%*d' % (5, 3)", "'%i' % 3.9", "'%#x %#o' % (255, 8)", "'%s' % 'a%b'",
     "'abc'.upper().lower().title()", "'a' .upper()", "'x'.join({'a': 1, 'b': 2})", "'abc'.join(['x', 'y'])")

# --- containers
expr("{'a': 1, 'b': 2}.items()", "{'a': 1}.keys()", "{'a': 1}.values()", "{'a': 1}.items()|list", "{'b': 1, 'a': 2}|dictsort", "{'b': 1, 'a': 2}|dictsort(by='value')",
     "{'b': 1, 'A': 2}|dictsort", "{'b': 1, 'A': 2}|dictsort(true)", "{'a': 1, 'b': 2}|dictsort(reverse=true)", "{'a': 1}.copy()", "[1, 2, 1].count(1)", "[1, 2, 3].index(2)", "(1, 2).index(2)", "{'a': 1, 'a': 2}", "{1: 'a', 1.0: 'b', true: 'c'}",
     "dict(a=1, b='x')", "dict({'a': 1}, b=2)", "dict([('a', 1), ('b', 2)])", "dict()", "range(5)", "range(5)|list", "range(2, 5)|list", "range(5, 0, -2)|list", "range(0)|list", "range(1, 10, 3)", "namespace(a=1)", "namespace(a=1).a", "namespace({'x': 2}).x", "namespace(a=1).b is defined",
     "{'k': [1, 2]}.k|length", "{'a': 1}|length", "'héllo'|length", "range(7)|length", "{'a': 1}.items()|length", "[[1, 2], [3, 4]]|map('first')|list", "{'a': none}.get('a', 'x')", "{(1, 2): 'x'}[(1, 2)]")

# --- filters
expr("' x '|trim", "'xxaxx'|trim('x')", "5|trim", "[1, 2]|join(', ')", "[1, none, 'a']|join", "'abc'|join('-')", "[{'n': 1}, {'n': 2}]|join('+', attribute='n')", "[1, 2, 3]|length", "[1, 2]|count",
     "'Ab'|upper", "'Ab'|lower", "'hello big-world (x)'|title", "\"it's\"|title", "'hELLO wORLD'|capitalize", "5|string + 'x'", "none|string", "'3'|int + 1", "'3.7'|int", "'x'|int", "'x'|int(5)", "'0x1f'|int(0, 16)", "'11'|int(base=2)", "3.9|int", "-3.9|int", "true|int", "none|int", "' 42 '|int", "'1_000'|int", "'1__0'|int", "'1e3'|int",
     "'3.5'|float", "'x'|float", "'x'|float(1.5)", "3|float", "'inf'|float", "'-1e5'|float", "' 2.5 '|float", "none|float", "[1, 2]|first", "[]|first is defined", "[1, 2]|last", "'abc'|first", "'abc'|last", "''|first is defined", "{'a': 1, 'b': 2}|first", "{'a': 1, 'b': 2}|last", "range(4)|last",
     "'abc'|list", "{'a': 1}|list", "(1, 2)|list", "undefined_name|list", "'abc'|reverse", "[1, 2, 3]|reverse|list", "{'a': 1, 'b': 2}|reverse|list", "range(3)|reverse|list", "[3, 1, 2]|sort", "['b', 'A', 'c']|sort", "['b', 'A', 'c']|sort(case_sensitive=true)", "[1, 3, 2]|sort(reverse=true)", "'hello'|sort", "[(2, 'a'), (1, 'b')]|sort",
     "[1, 2, 1, 'a', 'A']|unique|list", "['a', 'A']|unique(true)|list", "[1, 2, 3]|sum", "[1.5, 2]|sum", "[]|sum", "[[1], [2]]|sum(start=[])", "[3, 1, 2]|min", "[3, 1, 2]|max", "['b', 'A']|min", "[]|min is defined", "-5|abs", "-2.5|abs", "true|abs",
     "2.5|round", "3.5|round", "2.675|round(2)", "2.1|round(1, 'ceil')", "2.19|round(1, 'floor')", "5|round", "1234.5|round(-2)", "'a b'|replace(' ', '_')", "'aaa'|replace('a', 'b', 2)", "5|replace('5', '6')", "'a\\nb\\n\\nc'|indent", "'a\\nb'|indent(2, true)", "'a\\n\\nb'|indent(2, blank=true)", "'a\\nb'|indent('> ')", "'a\\n'|indent ~ '|'", "''|indent", "'x\\ny'|indent(first=true)",
     "'<a href=\"x\">&\\''|e", "'<b>'|escape|upper", "'<b>'|safe", "'<b>'|safe + '<i>'", "'<i>' + '<b>'|safe", "'<b>'|e|e", "'<b>'|e|forceescape", "('<b>'|safe) ~ '<i>'", "'<b>'|safe|string + '<'", "['<b>'|safe]",
     "'abc'|center(7) ~ '|'", "'%s-%s'|format(1, 'a')", "'%(x)s'|format(x=5)", "'hello world foo'|truncate(10)", "'hello world foo'|truncate(10, true)", "'hello world foo'|truncate(12, leeway=0)", "'hello'|truncate(10)", "'hello world foo bar baz'|truncate(9, false, '..', 0)", "'one two_three  4'|wordcount", "'a b/c?d=é'|urlencode",
     "[1, 2, 3, 4, 5]|batch(2)|list", "[1, 2, 3]|batch(2, 'x')|list", "[1, 2, 3, 4, 5]|slice(2)|list", "[1, 2, 3]|slice(2, 'x')|list", "{'a': 1, 'b': 2}|items|list", "undefined_name|items|list", "undefined_name|default('x', true)", "''|default('x', true)", "''|default('x')", "0|d(5, boolean=true)", "none|default('x')", "undefined_name|default",
     "'abc'|attr('upper') is defined", "{'a': 1}|attr('a') is defined", "'a'|attr('zz') is defined", "undefined_name|trim", "undefined_name|upper", "undefined_name|length", "undefined_name|join", "undefined_name|string", "[undefined_name]|join('-')", "undefined_name|first is defined", "none|upper", "1|upper", "'a'|upper|lower|title", "[1, 2]|last|string ~ '!'", "-1|abs", "2 + -3|abs", "'1,2'.split(',')|map('int')|sum", "1.5|int|string|length", "undefined_name|map('upper')|list")
expr("users|map(attribute='name')|join(', ')", "users|map(attribute='address.city')|list", "users|map(attribute='mail', default='-')|list", "users|map(attribute='tags.0', default='?')|list", "users|selectattr('mail')|map(attribute='name')|list", "users|selectattr('age', 'equalto', 31)|list|length",
     "users|selectattr('age', '>', 30)|map(attribute='name')|list", "users|rejectattr('mail', 'defined')|map(attribute='name')|list", "users|rejectattr('tags')|map(attribute='name')|list", "users|sort(attribute='name')|map(attribute='name')|list", "users|sort(attribute='age,name')|map(attribute='name')|list",
     "users|sort(attribute='age', reverse=true)|map(attribute='name')|list", "users|unique(attribute='address.city')|map(attribute='name')|list", "users|sum(attribute='age')", "users|max(attribute='age')|attr('x') is defined", "(users|min(attribute='age')).name", "users|map('length')|list", "users|selectattr('name', 'in', ['Bob', 'Carl'])|list|length",
     "users|selectattr('name', '==', 'Bob')|first", "users|map(attribute='nope')|map('default', 'N')|list", **USERS)
expr("[1, 2, 3, 4]|select('odd')|list", "[1, 2, 3, 4]|reject('odd')|list", "[0, 1, '', 'a']|select|list", "[0, 1, none]|reject|list", "[1, 2, 3]|select('gt', 1)|list", "['a', 1]|select('string')|list", "[1, 2, 3, 4, 6]|select('divisibleby', 3)|list",
     "['a', 'b']|map('upper')|join", "[1.5, 2.5]|map('round')|list", "['1', '2']|map('int', default=0)|list", "[' a', 'b ']|map('trim')|list", "[[1, 2], []]|map('length')|list", "['a']|map('replace', 'a', 'b')|list", "[1, 2, 3]|select('in', [1, 3])|list", "['code', 'x']|reject('equalto', 'code')|join(', ')", "[{'a': 1}, {}]|selectattr('a', 'undefined')|list", "[{'a': {'b': 1}}]|selectattr('a.b', 'eq', 1)|list", "[]|map('upper')|list", "[1,2]|map('string')|join")

# --- tojson
expr("x|tojson", "x|tojson(indent=2)", "x|tojson(indent=4)", "x|tojson(ensure_ascii=true)", "x|tojson(separators=(',', ':'))", "x|tojson(sort_keys=true)", "x|tojson(indent=0)", "x|tojson(indent='\t')", "x|tojson(indent=2, separators=(', ', ' : '))", "x|tojson(true)", "x|tojson(false, 2)", x=TOOL)
expr("1|tojson", "1.0|tojson", "'a\"b'|tojson", "none|tojson", "true|tojson", "[]|tojson", "{}|tojson", "[[], {}]|tojson(indent=2)", "(1, 2)|tojson", "'<>&\\''|tojson", "{1: 2, none: 3, true: 4, 1.5: 5}|tojson", "'\\x00\\x1f\\x7f\\u2028😀'|tojson", "'\\x7fé😀'|tojson(ensure_ascii=true)", "1e16|tojson", "'inf'|float|tojson", "{'a': [1, {'b': none}]}|tojson", "'a/b'|tojson", "{'b': 1, 'a': 2}|tojson(sort_keys=true)")

# --- tests
expr("1 is number", "1.5 is number", "true is number", "'a' is number", "1 is integer", "true is integer", "1.0 is float", "1 is float", "true is boolean", "1 is boolean", "true is true", "1 is true", "false is false", "0 is false", "none is none", "undefined_name is none",
     "'a' is string", "1 is string", "{} is mapping", "[] is mapping", "[] is iterable", "'a' is iterable", "1 is iterable", "none is iterable", "{} is iterable", "[] is sequence", "'a' is sequence", "{} is sequence", "1 is sequence", "undefined_name is iterable", "undefined_name is sequence", "{}.items() is sequence", "{}.items() is iterable", "range(2) is sequence", "[1]|map('abs') is iterable", "[1]|map('abs') is sequence",
     "3 is odd", "3 is even", "-3 is odd", "6 is divisibleby 3", "6 is divisibleby(4)", "1 is eq 1", "1 is equalto(2)", "1 is ne 2", "2 is gt 1", "2 is greaterthan 3", "1 is lt 2", "1 is lessthan(0)", "1 is le 1", "1 is ge 2", "'a' is in ['a']", "'a' is in 'abc'", "1 is sameas 1", "none is sameas none", "'abc' is lower", "'ABC' is upper", "'Abc' is lower",
     "'upper' is filter", "'nope' is filter", "'odd' is test", "'nope' is test", "range is callable", "1 is callable", "'<'|e is escaped", "'<' is escaped", "x is not defined", "1 is not string", "not 1 is string", "1 is string or 2 is number", "1 is defined and 2 is defined", "[1, 2] is eq [1, 2]", "1 + 1 is odd", "'a' ~ 1 is odd", "2 is divisibleby 2 | string", "'a' is string ~ 'b'", "5 is not divisibleby 5", "x is defined else_y" if False else "x is defined", "-1 is lt 0", "[] is not none and [] is sequence", "raise_exception is defined", "strftime_now is defined", "loop is defined", "namespace is callable", "1 is number | lower", "{'a': 1}.a is number", "'x' is in {'x': 1}")

# --- statements
case("{% if true %}a{% endif %}")
case("{% if false %}a{% elif 0 %}b{% else %}c{% endif %}")
case("{% if false %}a{% elif 1 %}b{% else %}c{% endif %}")
case("{% if x == 1 %}one{% elif x == 2 %}two{% elif x == 3 %}three{% endif %}", x=3)
case("{% if true: %}a{% else: %}b{% endif %}")
case("{% if 1, 2 %}tuple{% endif %}")
case("{% set x = 1 %}{{ x }}")
case("{% set x, y = 1, 2 %}{{ y }}{{ x }}")
case("{% set (a, (b, c)) = (1, (2, 3)) %}{{ a }}{{ b }}{{ c }}")
case("{% set x = 1, 2 %}{{ x }}")
case("{% set x %}a{{ 1 }}b{% endset %}[{{ x }}]{{ x is string }}")
case("{% set x | upper | trim %} abc {% endset %}[{{ x }}]")
case("{% set x | replace('a', 'b') %}aaa{% endset %}{{ x }}")
case("{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{% set ns.b = 'x' %}{{ ns.a }}{{ ns.b }}{{ ns }}")
case("{% set ns = namespace() %}{% set ns.a, b = 1, 2 %}{{ ns.a }}{{ b }}")
case("{% set ns = namespace() %}{% set ns.t %}abc{% endset %}{{ ns.t }}")
case("{% for i in [1, 2, 3] %}{{ i }},{% endfor %}")
case("{% for i in [] %}x{% else %}empty{% endfor %}")
case("{% for i in [1] %}x{% else %}empty{% endfor %}")
case("{% for a, b in [(1, 2), (3, 4)] %}{{ a }}-{{ b }};{% endfor %}")
case("{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}")
case("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}")
case("{% for k in {'a': 1, 'b': 2} %}{{ k }}{% endfor %}")
case("{% for k, v in d|dictsort %}{{ k }}{{ v }}{% endfor %}", d={"b": 1, "a": 2})
case("{% for c in 'añ😀' %}{{ c }}.{% endfor %}")
case("{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }} {% endfor %}")
case("{% for i in 'ab' %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }};{% endfor %}")
case("{% for i in [1, 2, 3] %}{{ loop.cycle('a', 'b') }}{% endfor %}")
case("{% for i in [1, 1, 2, 2, 1] %}{{ loop.changed(i) }} {% endfor %}")
case("{% for i in [1, 2, 3, 4] if i is even %}{{ loop.index }}:{{ i }}{{ '' if loop.last else ',' }}{% endfor %}")
case("{% for i in [1, 2, 3, 4] if i > 9 %}{{ i }}{% else %}none{% endfor %}")
case("{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}")
case("{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}")
case("{% for i in [1, 2] %}{% continue %}{% else %}E{% endfor %}")
case("{% for i in [1, 2] %}{% break %}{% else %}E{% endfor %}")
case("{% for i in [1, 2] %}{% if i == 2 %}{% break %}{% endif %}{% else %}E{% endfor %}")
case("{% for i in [1, 2] %}{% for j in [1, 2] %}{{ loop.index }}{% if j == i %}{% break %}{% endif %}{% endfor %}|{{ loop.index }} {% endfor %}")
case("{% for i in [1, 2, 3] %}{% set s %}a{{ i }}{% if i == 2 %}{% continue %}{% endif %}b{% endset %}{{ s }}{% endfor %}")
case("{% for i in [1, 2] %}{% filter upper %}x{% if i == 1 %}{% break %}{% endif %}{% endfilter %}{% endfor %}end")
case("{% for i in [1, 2] %}{{ x }}{% set x = i %}{{ x }}{% endfor %}[{{ x }}]", x="o")
case("{% set x = 0 %}{% for i in [1, 2] %}{{ x }}{% set x = x + i %}{{ x }}{% endfor %}[{{ x }}]")
case("{% for i in [1, 2] %}{% if i == 2 %}{% set y = 'set' %}{% endif %}{{ y }};{% endfor %}", y="ctx")
case("{% for i in [1, 2] %}{% if i == 1 %}{% set y = 'set' %}{% endif %}{{ y }};{% endfor %}")
case("{% for i in [1] %}{{ x }}{% endfor %}{% set x = 1 %}", x="ctx")
case("{{ x }}{% set x = 1 %}{{ x }}", x="ctx")
case("{% if false %}{% set x = 1 %}{% endif %}{{ x }}", x="ctx")
case("{% if true %}{% set x = 1 %}{% endif %}{{ x }}", x="ctx")
case("{% for i in [1,2] %}{% if i == 1 %}{% set a = 1 %}{% else %}{{ a is defined }}{% endif %}{% endfor %}")
case("{% for x in [1, 2] %}{% endfor %}{{ x is defined }}")
case("{% for x in [1, 2] %}{% for x in 'ab' %}{{ x }}{% endfor %}{{ x }}{% endfor %}")
case("{% set i = 9 %}{% for i in [1] %}{{ i }}{% endfor %}{{ i }}")
case("{% for i in undefined_name %}x{% else %}none{% endfor %}")
case("{% for i in [3, 4] %}{% set outer = loop %}{% for j in [1] %}{{ outer.index }}{{ loop.index }}{% endfor %}{% endfor %}")
case("{% for m in messages %}{{ m.role }}: {{ m['content'] }}\n{% endfor %}", **MESSAGES)
case("{% for m in messages[1:] %}{{ loop.index0 }}{{ m.role }} {% endfor %}{{ messages|length }}", **MESSAGES)
case("{{ messages[-1].tool_calls[0].arguments.x }}{{ 'tool_calls' in messages[-1] }}{{ messages[0].tool_calls is defined }}", **MESSAGES)
case("{% set ns = namespace(found=false) %}{% for m in messages if not ns.found %}{{ m.role }}{% set ns.found = true %}{% endfor %}", **MESSAGES)
case("{% set ns = namespace(found=false) %}{% for m in messages if not ns.found %}{{ loop.index }}{% set ns.found = true %}{% endfor %}", **MESSAGES)
case("{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}")
case("{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}")
case("{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z is defined }}")
case("{% filter upper %}abc {{ 'x' }}{% endfilter %}")
case("{% filter replace('a', 'b') | trim %} aaa {% endfilter %}!")
case("{% filter upper %}{% set q = 1 %}{{ q }}{% endfilter %}{{ q is defined }}")
case("{% generation %}a{% set g = 1 %}{{ g }}{% endgeneration %}{{ g is defined }}")
case("{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ loop.index }}{% endgeneration %}{% endif %}{% endfor %}", **MESSAGES)
case("{% print 1, 'a' %}{% print 2 %}")
case("a{# comment {{ x }} {% if %} #}b")
case("{% raw %}{{ x }} {% if %}{% endraw %}!")
case("{%- raw -%} {{ x }} {%- endraw -%} !")
case("a {% raw %} b {% endraw %} c")
case("{{ '{{' }} {{ \"%}\" }} {{ '#}' }}")
case("{{ {'a': {'b': 1}}['a']['b'] }}{{ {'x': {}} }}")
case("{{ 1 }}{{ 2 }}\n{{ 3 }}\n")
case("\n\n{{ 1 }}\n\n\n")
case("{{ 1 }}\r\n{{ 2 }}\r{{ 3 }}\r\n")
case("line\n")
case("")
case("\n")
case("a { b } {c} {")

# --- whitespace control
case("  {% if true %}\n  x\n  {% endif %}\n")
case("a\n  {% if true %}  b\n  {% endif %}  \nc")
case("a {% if true %} b {% endif %} c")
case("a {%- if true -%} b {%- endif -%} c")
case("a\n\n  {%- if true %}\n\n  b\n{%- endif %}\n\nc")
case("a {{- 1 -}} b")
case("a \n {{- 1 }} \n b")
case("a {{ 1 -}}\n\n b")
case("  {%+ if true %}x{% endif %}")
case("  {% if true +%}\n x{% endif %}")
case("  {%+ if true +%}\n x\n{% endif +%}\ny")
case("a\n  {# c #}\nb")
case("a\n  {#- c -#}\n  b")
case("a\n  {#+ c +#}\nb")
case("{# c #}\nb")
case("  {# c #}  b")
case("{% if true %}\n\n{% endif %}\n\nx")
case("{% for i in [1, 2] %}\n  {{ i }}\n{% endfor %}\nend")
case("{% for i in [1, 2] -%}\n  {{ i }}\n{%- endfor %}\nend")
case("<a>\n    {% set x = 1 %}\n    {{ x }}\n</a>")
case("\t{% if true %}\tx\t{% endif %}\t\n")
case("x{% if true %}\r\n y{% endif %}")
case("{{ 'a' }}\n    {%- if true %}b{% endif %}")
case("{% if true -%}   a   {%- endif %}   b")
case("{{ 1 }}  {% if true %}a{% endif %}")
case("{% if true %}  {% if true %}a{% endif %}{% endif %}")
case("{% if true %}\n  {% if true %}a{% endif %}{% endif %}")
case("\u00a0{% if true %}x{% endif %}")
case("a\u3000\n{%- if true %}x{% endif %}")
case("{%- set x = 1 -%}\n\n{{- x -}}\n\n")
case("{{- 'a' }} {{ 'b' -}} ")
case("{% raw -%}\n a \n{%- endraw %}\nb")
case("x\n   {% raw %}\ny\n   {% endraw %}\nz")
case("{{+ 1 }}")
case("{{ 1 +1 }}{{ 1 -1 }}{{-1}}{{ -1 }}{{ 1-1 }}")

# --- macros
case("{% macro f(a, b=2) %}[{{ a }}{{ b }}]{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(b=5, a=4) }}")
case("{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}")
case("{% macro f(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ f() }}")
case("{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}")
case("{% macro f(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ f(1, 2, 3) }}")
case("{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}")
case("{% macro f() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ f() }}")
case("{% macro f() %}{{ x }}{% endmacro %}{{ f() }}{% set x = 1 %}", x="ctx")
case("{% macro f() %}{{ x }}{% endmacro %}{{ f() }}", x="ctx")
case("{% macro f() %}{% set y = 5 %}{{ y }}{% endmacro %}{{ f() }}{{ y is defined }}")
case("{% set x = 1 %}{% macro f(x) %}{{ x }}{% endmacro %}{{ f(2) }}{{ x }}")
case("{% macro outer() %}{% macro inner() %}i{{ z }}{% endmacro %}{% set z = 7 %}{{ inner() }}{% endmacro %}{{ outer() }}")
case("{% macro f() %}({{ caller() }}){% endmacro %}{% call f() %}body{% endcall %}")
case("{% macro f(x) %}({{ caller(x, 'b') }}){% endmacro %}{% call(a, b='d') f(1) %}{{ a }}{{ b }}{% endcall %}")
case("{% macro f() %}{{ caller() if caller is defined else 'no' }}{% endmacro %}{{ f() }}{% call f() %}yes{% endcall %}")
case("{% macro f(items) %}{% for i in items %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) f([1, 2]) %}<{{ x }}>{% endcall %}")
case("{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'a': 3, 'b': 4}) }}{{ f(5, **{'b': 6}) }}")
case("{% macro f() %}x{% endmacro %}{% set g = f %}{{ g() }}{{ f.name }}{{ f is callable }}") if False else None
case("{% macro f() %}x{% endmacro %}{% set g = f %}{{ g() }}{{ f is callable }}")
case("{% set d = {'f': range} %}{{ d.f(3)|list }}")
case("{% macro f() -%}\n  x\n{%- endmacro %}[{{ f() }}]")
case("{% macro f(x) %}{% for i in range(x) %}{{ loop.index }}{% endfor %}{% endmacro %}{% for j in [1, 2] %}{{ f(j) }}{{ loop.index }};{% endfor %}")
case("{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}")
case("{% macro f(a='x', b='y') %}{{ a }}{{ b }}{% endmacro %}{{ f(b='z') }}")
case("{% macro f(s) %}{{ s|upper }}{% endmacro %}{{ f('a') ~ f('b') }}{{ f('c') + 'd' }}{{ f('e')|length }}")
case("{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}")
case("{% macro f() %}{% if true %}{% set q = 1 %}{% endif %}{{ q }}{% endmacro %}{{ f() }}", q="ctx")

# --- globals
case("{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%d %b %Y') }} {{ strftime_now('%A, %B %d, %Y') }}")
case("{{ strftime_now('%H:%M:%S %I %p %j %y %a %e|%-d|%-m %% %U %W %w %u %V %G %F %T %D %R %c') }}")
case("{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}")
case("{% set j = joiner('|') %}{% for i in [1, 2, 3] %}{{ j() }}{{ i }}{% endfor %}")
case("{% set j = joiner() %}{{ j() }}a{{ j() }}b")
case("{{ raise_exception('System role not supported') }}")
case("{% if messages[0].role == 'system' %}{{ raise_exception('No ' ~ messages[0].role) }}{% endif %}", **MESSAGES)
case("{{ raise_exception('x' * 3) if true else '' }}")
case("{% set ns = namespace(s='') %}{% for i in range(5) %}{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.s }}")
case("{{ bos_token }}{% for m in messages %}{{ '<|' ~ m.role ~ '|>\\n' + m.content|trim + eos_token }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}", **MESSAGES)

# --- generators are used up
case("{% set g = [1, 2]|map('string') %}{{ g|list }}{{ g|list }}")
case("{% set g = [1, 2, 3]|select('odd') %}{% for x in g %}{{ x }}{% endfor %}{% for x in g %}{{ x }}{% else %}none{% endfor %}")
case("{% for x in [1, 2]|map('string') %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}")
case("{{ 'yes' if []|map('upper') else 'no' }}")
case("{{ ([1,2,3]|select('odd'))|first }}")

# --- errors
expr("1 + 'a'", "'a' + 1", "'a' + none", "none + 1", "undefined_name + 1", "1 + undefined_name", "undefined_name.a", "undefined_name['a']", "undefined_name()", "x.y.z", "[1] + (2,)", "1 < 'a'", "none < 1", "1 in 5", "1 in 'abc'", "1 in none", "1 / 0", "1 // 0", "1 % 0", "1.0 / 0", "users[1:'a']", "'abc'[::0]", "users[0].age[1:]", "-'a'", "+[]", "'a' * 'b'", "'a' * 1.5", "'a' - 'b'", "{[1]: 2}", "[] in {}",
     "'abc'.nope()", "{'a': 1}.nope()", "none.foo()", "5()", "'a'()", "'abc'.index('x')", "[1].index(2)", "'abc'.split('')", "'a'.join([1])", "'abc'.upper(1)", "'abc'.replace('a')", "1|length", "none|list", "none|join", "undefined_name|tojson", "range(3)|tojson", "{(1, 2): 3}|tojson", "[1, 'a']|sort", "1|first", "{}|map('upper')|last", "[1]|map('upper')|length", "'a'|round", "'a'|abs", "undefined_name|int", "undefined_name|abs", "'abc'|items", "[1]|dictsort",
     "range(1000000)", "range('a')", "range()", "range(1, 2, 0)", "[].append(1)", "{}.update({})", "{}.pop('a')", "''.__class__", "''.__class__.__mro__", "x.__class__", "{}.__init__.__globals__", "namespace(1)", "namespace(_a=1)", "dict(1)", "'%d' % 'a'", "'%s %s' % 'a'", "'%s' % (1, 2)", "'%z' % 1", "'%(a)s' % {}", "'{}'.format()", "'{a}'.format()", "'{:d}'.format('a')", "'{:z}'.format(1)", "'{'.format()", "'}'.format()", "'{0} {}'.format(1, 2)", "'abc'.center('x')", "2 ** 'a'", "0 ** -1", "[1, 2, 3]|batch", "'a'|truncate(1)", "'x'|indent(width='a', nope=1)", "'x'|trim(1, 2, 3)", "1 is divisibleby 0", "'a' is odd", "1 is in 5", "1 is divisibleby", "1 is defined(1)", "''|first + 'a'", "('a' if false) + 'b'", "[]|first|upper + 1", "loop.index", "x.a.b", x={"a": {}}, **USERS)
case("{% set a, b = [1] %}")
case("{% set a, b = [1, 2, 3] %}")
case("{% set a, b = 5 %}")
case("{% set x = 1 %}{% set x.y = 2 %}")
case("{% set d = {} %}{% set d.y = 2 %}")
case("{% for i in 5 %}{% endfor %}")
case("{% for i in none %}{% endfor %}")
case("{% for a, b in [1] %}{% endfor %}")
case("{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}")
case("{% macro f(a) %}{% endmacro %}{{ f(b=1) }}")
case("{% macro f(a) %}{% endmacro %}{{ f(1, a=1) }}")
case("{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}")
case("{% for i in [1] %}{{ loop(i) }}{% endfor %}")
case("{% set ns = namespace() %}{% set ns._x = 1 %}")

case("{% filter length %}abc{% endfilter %}")
expr("[1, 2]|truncate(5)", "undefined_name|truncate(5)", "[1, 2, 3]|truncate(3, leeway=0, end='') is defined", "5|truncate")

# --- unknown filters and tests fail late inside an if
case("{% if x is string %}a{% elif x is mapping %}{{ x|from_json }}{% endif %}", x="s")
case("{% if x is string %}{{ x|from_json(1) }}{% endif %}", x="s")
case("{% if true %}b{% else %}{{ x is magic 5 }}{{ x is not magic(5) }}{% endif %}")
case("{% if true %}{{ x is magic }}{% endif %}")
case("{% if true %}{% for i in [] %}{{ i|nope }}{% endfor %}{% endif %}")
case("{% if false %}{% set x | nope %}a{% endset %}{% endif %}")

# --- syntax errors
for source in ["{{", "{{ 1", "{% if", "{% if true %}", "{% if true %}a", "{% endif %}", "{% else %}", "{{ }}", "{{ 1 + }}", "{{ (1 }}", "{{ [1 }}", "{{ {1 }}", "{{ {'a' 1} }}", "{{ 1 2 }}", "{{ a b }}", "{{ a. }}", "{{ a.'b' }}", "{{ a[ }}", "{{ a[] + }}", "{{ f(a b) }}", "{{ f(a=1, 2) }}", "{{ f(**a, *b) }}", "{{ 'abc }}", "{{ \"abc }}", "{# never", "{% raw %} x", "{% for %}", "{% for x %}{% endfor %}", "{% for x in %}{% endfor %}", "{% for x in [1] %}", "{% for 1 in [1] %}{% endfor %}", "{% set %}", "{% set 1 = 2 %}", "{% set x = %}", "{% set true = 1 %}", "{% macro %}{% endmacro %}", "{% macro f %}{% endmacro %}", "{% macro f(a=1, b) %}{% endmacro %}", "{% macro f() %}", "{% nope %}", "{% 1 %}", "{% if true %}{% endfor %}", "{% for x in [1] %}{% endif %}", "{% if true %}{% else %}{% else %}{% endif %}", "{% break %}", "{% continue %}", "{{ x|nope }}", "{{ x is nope }}", "{{ x| }}", "{{ x is }}", "{{ a ? b }}", "{{ a ! b }}", "{{ @ }}", "{{ a; b }}", "{{ ) }}", "{{ (] }}", "{{ 1 if }}", "{{ a is b is c }}", "{{ '\\x4' }}", "{{ x.1.y z }}", "{% call 5 %}{% endcall %}", "{% filter %}{% endfilter %}", "{% with a %}{% endwith %}", "{% if x = 1 %}{% endif %}", "{{ not }}", "{{ a not b }}", "{{ a in }}", "{% set x | nope %}{% endset %}", "{% macro f(a, a) %}{% endmacro %}", "{{ f(a=1, a=2) }}", "{{ a b c }}", "{% endmacro %}", "{% set a.b.c = 1 %}", "{% macro f() %}{% break %}{% endmacro %}"]:
    case(source)


class GenerationBlock(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_run"), [], [], body).set_lineno(line)

    def _run(self, caller):
        return caller()


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def checked_name(name):
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError("underscore")


class Namespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        members = dict(*args, **kwargs)
        for name in members:
            checked_name(name)
        jinja2.utils.Namespace.__init__(self, members)

    def __setitem__(self, name, value):
        checked_name(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda shape: NOW.strftime(shape)
    env.globals["namespace"] = Namespace
    return env


def main():
    env = environment()
    for template, variables in CASES:
        line = {"template": template, "vars": variables}
        try:
            line["output"] = env.from_string(template).render(**variables)
        except Raised as failure:
            line["error"] = "raised: " + str(failure)
        except Exception as failure:
            line["error"] = type(failure).__name__
        if " at 0x" in line.get("output", ""):
            continue  # an address is no golden
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
