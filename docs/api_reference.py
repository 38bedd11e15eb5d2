"""The Python reference, read from edgekit's source by griffe: nothing of edgekit is imported.

The front door (`edgekit.__all__` and the names in `ALSO_PUBLIC`) becomes docs/api/README.md; every
class and type of edgekit that its signatures and fields name becomes docs/api/records.md.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import griffe

REPOSITORY = Path(__file__).resolve().parents[1]
ALSO_PUBLIC = ("edgekit.checkpoint.load_checkpoint",)
SPECIAL = ("__iter__",)
"""Methods that are shown although their names begin with an underscore."""
SIGNATURE_COLUMNS = 88
HEAD = """\
# Python

What `edgekit` offers to programs: [examples](../python.md) of each, and the
[records](records.md) that it takes and returns.

"""
RECORDS_HEAD = """\
# Records

The classes and types that the [front door](README.md) takes and returns.

"""


def write_api_pages(generated: str) -> dict[str, str]:
    """Page names below docs/ and their Markdown.

    Raises SystemExit naming what griffe cannot read in a docstring, as a parameter under `Args:`
    that the function does not have.
    """
    with _Complaints() as complaints:
        package = griffe.load(
            "edgekit",
            search_paths=[REPOSITORY],
            docstring_parser="google",
            docstring_options={"returns_multiple_items": False},
        )
        assert isinstance(package, griffe.Module)
        doors = _list_front_door(package)
        records = _list_records(package, doors)
        pages = {
            "api/README.md": generated + "\n" + HEAD + _render_doors(doors),
            "api/records.md": generated + "\n" + RECORDS_HEAD + _render_records(records),
        }
    if complaints.lines:
        raise SystemExit("docstrings that cannot be read:\n" + "\n".join(complaints.lines))
    return pages


class _Complaints(logging.Handler):
    """What griffe warns of while it reads docstrings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> _Complaints:
        logging.getLogger("griffe").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("griffe").removeHandler(self)


def _list_front_door(package: griffe.Module) -> dict[str, griffe.Object]:
    """Public name, as a program writes it → what it is."""
    exported = [f"edgekit.{name}" for name in package.exports or () if name != "__version__"]
    return {name: _find(package, name) for name in (*exported, *ALSO_PUBLIC)}


def _find(package: griffe.Module, path: str) -> griffe.Object:
    found = package[path.partition(".")[2]]
    return found.final_target if isinstance(found, griffe.Alias) else found


def _list_records(
    package: griffe.Module, doors: dict[str, griffe.Object]
) -> dict[str, griffe.Object]:
    """Path → class or type of edgekit that the front door's annotations lead to, door by door."""
    records: dict[str, griffe.Object] = {}
    seen = {door.path for door in doors.values()}
    waiting = list(doors.values())
    while waiting:
        for path in _list_annotated(waiting.pop(0)):
            found = _resolve(package, path)
            if found is not None and found.path not in seen:
                seen.add(found.path)
                records[found.path] = found
                waiting.append(found)
    return records


def _resolve(package: griffe.Module, path: str) -> griffe.Object | None:
    try:
        found = _find(package, path)
    except (KeyError, griffe.AliasResolutionError):
        return None
    if isinstance(found, griffe.Class):
        return found
    return found if isinstance(found, griffe.Attribute) and _is_type(found) else None


def _list_annotated(item: griffe.Object) -> Iterator[str]:
    """Paths of edgekit's names in the annotations of `item`, its fields and public methods."""
    for expression in _list_expressions(item):
        if isinstance(expression, griffe.Expr):
            for part in expression.iterate(flat=True):
                if isinstance(part, griffe.ExprName) and part.canonical_path.startswith("edgekit."):
                    yield part.canonical_path


def _list_expressions(item: griffe.Object) -> Iterator[str | griffe.Expr | None]:
    if isinstance(item, griffe.Function):
        yield from (parameter.annotation for parameter in item.parameters)
        yield item.returns
    elif isinstance(item, griffe.Attribute):
        yield item.annotation
        yield item.value if _is_type(item) else None
    elif isinstance(item, griffe.Class):
        yield from item.bases
        for member in (*_list_members(item), _find_constructor(item)):
            if member is not None:
                yield from _list_expressions(member)


def _is_type(item: griffe.Attribute) -> bool:
    """Whether an assignment names a type (`Probabilities = NDArray[…]`); judged by its name."""
    return item.name[0].isupper() and not item.name.isupper()


def _find_constructor(item: griffe.Class) -> griffe.Function | None:
    """The constructor of what programs make themselves: a dataclass, or a name of the front door.

    Others are made by edgekit, out of parts that are nobody else's business.
    """
    start = item.members.get("__init__")
    is_public = "dataclass" in item.labels or item.name in (item.package.exports or ())
    return start if isinstance(start, griffe.Function) and is_public else None


def _list_members(item: griffe.Class) -> Iterator[griffe.Object]:
    for member in item.members.values():
        if not member.is_alias and (not member.name.startswith("_") or member.name in SPECIAL):
            assert isinstance(member, griffe.Object)
            yield member


def _render_doors(doors: dict[str, griffe.Object]) -> str:
    rows = ["| name | what it does |", "|---|---|"]
    rows += [
        f"| [`{name}`](#{_slug(name)}) | {_summary(item)} |" for name, item in sorted(doors.items())
    ]
    sections = [_render(f"## {name}", name, item) for name, item in sorted(doors.items())]
    return "\n".join(rows) + "\n\n" + "\n\n".join(sections) + "\n"


def _render_records(records: dict[str, griffe.Object]) -> str:
    ordered = sorted(records.values(), key=lambda item: item.name.lower())
    return "\n\n".join(_render(f"## {item.name}", item.name, item) for item in ordered) + "\n"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_ -]", "", name.lower()).replace(" ", "-")


def _summary(item: griffe.Object) -> str:
    text = item.docstring.value if item.docstring else ""
    return " ".join(text.partition("\n\n")[0].split()).replace("|", r"\|")


def _render(heading: str, name: str, item: griffe.Object) -> str:
    parts = [heading]
    if isinstance(item, griffe.Function):
        parts += [_code(_signature(item, name)), *_render_docstring(item)]
    elif isinstance(item, griffe.Class):
        parts += _render_class(name, item)
    elif isinstance(item, griffe.Attribute):
        parts += [_code(f"{name} = {item.value}"), *_render_docstring(item)]
    return "\n\n".join([*parts, f"Defined in `{item.parent.path if item.parent else ''}`."])


def _render_class(name: str, item: griffe.Class) -> list[str]:
    bases = ", ".join(str(base) for base in item.bases)
    head = f"class {name}({bases})" if bases else f"class {name}"
    if start := _find_constructor(item):
        head = _signature(start, name, leave_out=1)
    members = list(_list_members(item))
    fields = [member for member in members if isinstance(member, griffe.Attribute)]
    parts = [_code(head), *_render_docstring(item, leave_out_attributes=bool(fields))]
    if fields:
        rows = ["| field | type | meaning |", "|---|---|---|"]
        rows += [_field_row(field, item) for field in fields]
        parts.append("\n".join(rows))
    for method in members:
        if isinstance(method, griffe.Function):
            shown = _signature(method, f"{item.name}.{method.name}", leave_out=_implicit(method))
            parts += [_code(shown), *_render_docstring(method)]
    return parts


def _implicit(method: griffe.Function) -> int:
    return 0 if "staticmethod" in method.labels else 1


def _describe_fields(item: griffe.Class) -> Iterator[tuple[str, str]]:
    """(field, meaning) of what a class's docstring says under `Attributes:` or `Args:`."""
    for section in item.docstring.parse("google") if item.docstring else ():
        if isinstance(
            section, (griffe.DocstringSectionParameters, griffe.DocstringSectionAttributes)
        ):
            for element in section.value:
                yield element.name, " ".join(element.description.split()).replace("|", r"\|")


def _field_row(field: griffe.Attribute, item: griffe.Class) -> str:
    annotation, value = field.annotation, str(field.value or "")
    start = item.members.get("__init__")
    if annotation is None and isinstance(start, griffe.Function) and value in start.parameters:
        annotation = start.parameters[value].annotation  # `self.path = path`
    described = dict(_describe_fields(item)).get(field.name, "")
    meaning = [_summary(field) or described, *_describe_value(field, value)]
    spelled = str(annotation or "").replace("|", r"\|")
    return f"| `{field.name}` | {f'`{spelled}`' if spelled else ''} | {' '.join(meaning).strip()} |"


def _describe_value(field: griffe.Attribute, value: str) -> Iterator[str]:
    """The default of a record's field, and its JSON key where that differs from its name."""
    if not value or "class-attribute" not in field.labels:
        return
    if not value.startswith("msgspec.field("):
        yield f"Default: `{value}`."
        return
    if key := re.search(r"name='(\w+)'", value):
        yield f"`{key[1]}` in JSON."
    if default := re.search(r"default=(.+?)(?:, \w+=|\)$)", value):
        yield f"Default: `{default[1]}`."


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _signature(function: griffe.Function, name: str, leave_out: int = 0) -> str:
    """As Python writes it, without the first `leave_out` parameters; broken where it is long."""
    parameters = list(function.parameters)[leave_out:]
    words = list(_spell_parameters(parameters))
    returns = f" -> {function.returns}" if function.returns and function.name != "__init__" else ""
    line = f"{name}({', '.join(words)}){returns}"
    if len(line) <= SIGNATURE_COLUMNS:
        return line
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){returns}"


def _spell_parameters(parameters: list[griffe.Parameter]) -> Iterator[str]:
    starred = False
    for parameter in parameters:
        kind = str(parameter.kind.value) if parameter.kind else ""
        if kind == "keyword-only" and not starred:
            yield "*"
        starred = starred or kind in ("keyword-only", "variadic positional")
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        annotation = f": {parameter.annotation}" if parameter.annotation else ""
        equals = " = " if annotation else "="
        default = f"{equals}{parameter.default}" if parameter.default and not stars else ""
        yield f"{stars}{parameter.name}{annotation}{default}"


def _render_docstring(item: griffe.Object, *, leave_out_attributes: bool = False) -> list[str]:
    return [
        _render_section(section)
        for section in (item.docstring.parse("google") if item.docstring else ())
        if not (leave_out_attributes and isinstance(section, griffe.DocstringSectionAttributes))
    ]


def _render_section(section: griffe.DocstringSection) -> str:
    if isinstance(section, griffe.DocstringSectionText):
        return section.value
    if isinstance(section, griffe.DocstringSectionExamples):
        return "\n\n".join(value for _, value in section.value)
    if isinstance(section, griffe.DocstringSectionAdmonition):
        return f"**{section.title}** {section.value.contents}"
    title = {"parameters": "Parameters", "raises": "Raises", "returns": "Returns"}
    lines = [f"**{title.get(section.kind.value, section.kind.value.capitalize())}**", ""]
    for element in section.value:
        lines.append(_render_element(element))
    return "\n".join(lines)


def _render_element(element: object) -> str:
    name = getattr(element, "name", "") or str(getattr(element, "annotation", "") or "")
    description = " ".join(str(getattr(element, "description", "")).split())
    return f"- `{name}`: {description}" if name else f"- {description}"
