"""Lists the words that CONTRIBUTING's glossary replaces, as far as a search alone can find them.

In: text or Python source. Out: the words in it that have a standard term, with that term.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from typing import NamedTuple

STANDARD: dict[str, str] = {
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again",
    r"told": "reported, known",
    r"tells?": "shows, reports",
    r"(?<!median )(?<!medians )lies?(?! within)": "is stored in, is within",
    r"(?<!there )(is|are|was|were) no(?! longer| more|t\b)": "is not a",
    r"of no use": "unusable",
    r"for want of": "without, for lack of",
    r"will not do": "cannot be used",
    r"held against": "compared with",
    r"without a word": "without a message",
    r"hearers?": "listener",
    r"the desk": "the client",
    r"meanwhile": "at the same time",
    r"obeys?": "runs, follows",
    r"eats?": "reads, takes",
    r"(?<!left )behind(?! one interface| a proxy)": "after",
    r"stands?(?! (in )?for)": "is, belongs",
}
"""The standard term for each word, which is written as a regular expression.

Its exceptions are the field's own uses: nothing is left behind, a median lies in its interval, a
letter stands for something.
"""

NAMES: dict[str, str] = {
    "anew": "again",
    "beat": "heartbeat",
    "crew": "workers",
    "hearers": "listeners",
    "hire": "add",
    "mend": "fix",
    "tell": "report",
    "told": "reported, known",
    "wish": "requested format",
}
"""The standard term for each word of an identifier."""

_WORDS = {re.compile(rf"\b{word}\b", re.IGNORECASE): term for word, term in STANDARD.items()}


class Found(NamedTuple):
    """A word with a standard term, and its line."""

    line: int
    word: str
    standard: str


def find_in_text(text: str, first_line: int = 1) -> Iterator[Found]:
    """Find the words of `STANDARD` in a text, across line breaks."""
    for pattern, term in _WORDS.items():
        for match in pattern.finditer(re.sub(r"\s+", lambda gap: " " * len(gap[0]), text)):
            line = first_line + text.count("\n", 0, match.start())
            yield Found(line, match[0], term)


def find_in_source(source: str) -> Iterator[Found]:
    """Find the words in the comments, strings and defined names of a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from find_in_text(token.string, token.start[0])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from find_in_text(node.value, node.lineno)
        for name in _list_names(node):
            for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name):
                if part.lower() in NAMES:
                    yield Found(getattr(node, "lineno", 1), name, NAMES[part.lower()])


def _list_names(node: ast.AST) -> Iterator[str]:
    """The names that a node defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr
