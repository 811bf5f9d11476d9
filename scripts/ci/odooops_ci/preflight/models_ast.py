"""Read Odoo models out of Python by parsing it: models, fields, constraints, SQL, routes. Nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

MODEL_BASES = frozenset({"Model", "TransientModel", "AbstractModel", "BaseModel"})
FIELD_TYPES = frozenset(
    {
        "Binary",
        "Boolean",
        "Char",
        "Date",
        "Datetime",
        "Float",
        "Html",
        "Id",
        "Image",
        "Integer",
        "Json",
        "Many2many",
        "Many2one",
        "Many2oneReference",
        "Monetary",
        "One2many",
        "Properties",
        "PropertiesDefinition",
        "Reference",
        "Selection",
        "Text",
        "Serialized",
    }
)
CONSTRAINTS = frozenset({"Constraint", "Index", "UniqueIndex"})
# What of a model reaches the database or the access to it.
MODEL_ATTRIBUTES = frozenset(
    {
        "_name",
        "_inherit",
        "_inherits",
        "_table",
        "_auto",
        "_log_access",
        "_parent_store",
        "_parent_name",
        "_abstract",
        "_table_query",
        "_check_company_auto",
    }
)
# Which arguments of a field reach the database; the others are labels and behaviour of the form.
FIELD_POSITION = {
    "Many2one": "comodel_name",
    "One2many": "comodel_name",
    "Many2many": "comodel_name",
    "Selection": "selection",
    "Reference": "selection",
}
SCHEMA_ARGUMENTS = frozenset(
    {
        "comodel_name",
        "inverse_name",
        "relation",
        "column1",
        "column2",
        "ondelete",
        "size",
        "digits",
        "selection",
        "selection_add",
        "required",
        "index",
        "company_dependent",
        "translate",
        "store",
        "compute",
        "related",
        "currency_field",
        "attachment",
    }
)


@dataclass(frozen=True)
class Field:
    """A field's definition; `schema` has the arguments that reach the database, as source text."""

    kind: str
    line: int
    schema: tuple[tuple[str, str], ...] = ()
    has_default: bool = False

    def argument(self, name: str) -> str:
        return dict(self.schema).get(name, "")

    @property
    def is_stored(self) -> bool:
        if self.argument("store"):
            return self.argument("store") != "False"
        return not (self.argument("compute") or self.argument("related"))

    @property
    def is_required(self) -> bool:
        return self.argument("required") not in ("", "False")

    @property
    def is_stored_computed(self) -> bool:
        return self.is_stored and bool(self.argument("compute") or self.argument("related"))


@dataclass
class Model:
    """What a file, or all files of an addon together, say of one model."""

    line: int
    defines: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Field] = field(default_factory=dict)
    constraints: dict[str, tuple[str, int]] = field(default_factory=dict)
    python_constraints: dict[str, tuple[str, int]] = field(default_factory=dict)

    def merge(self, other: Model) -> None:
        self.defines |= other.defines
        self.attributes |= other.attributes
        self.fields |= other.fields
        self.constraints |= other.constraints
        self.python_constraints |= other.python_constraints


@dataclass
class Source:
    """What was read of one file: models by name, and things by their source text with their line."""

    models: dict[str, Model] = field(default_factory=dict)
    sql: dict[str, int] = field(default_factory=dict)
    open_routes: dict[str, int] = field(default_factory=dict)
    sudo: list[int] = field(default_factory=list)
    used_models: dict[str, int] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)


def parse(text: str) -> Source:
    """Read a file.

    :raise SyntaxError: it is no Python; with its line.
    """
    try:
        tree = ast.parse(text)
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, or nested too deeply
        raise SyntaxError(str(error).splitlines()[0] if str(error) else "nested too deeply") from None
    source = Source(functions={node.name for node in tree.body if isinstance(node, ast.FunctionDef)})
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            _read_class(node, source)
        elif isinstance(node, ast.Call):
            _read_call(node, source)
        elif isinstance(node, ast.Subscript):
            _read_subscript(node, source)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            _read_route(node, source)
    return source


def _read_class(node: ast.ClassDef, source: Source) -> None:
    values = dict(_assignments(node))
    attributes = {name: ast.unparse(value) for name, value in values.items() if name in MODEL_ATTRIBUTES}
    is_model = any(_last_name(base) in MODEL_BASES for base in node.bases)
    name = _literal(values.get("_name")) or _first(values.get("_inherit"))
    if not name or not (is_model or "_name" in values or "_inherit" in values):
        return
    inherits = _all(values.get("_inherit"))
    if inherits == [name]:  # a class that extends the model says nothing new about it
        attributes.pop("_inherit", None)
        attributes.pop("_name", None)
    model = Model(node.lineno, defines="_name" in values and name not in inherits, attributes=attributes)
    for attribute, value in values.items():
        _read_attribute(model, attribute, value)
    _read_constrains(model, node)
    source.models.setdefault(name, model).merge(model)


def _read_attribute(model: Model, name: str, value: ast.expr) -> None:
    if name == "_sql_constraints":
        model.constraints[name] = (ast.unparse(value), value.lineno)
    elif isinstance(value, ast.Call):
        kind = _last_name(value.func)
        if kind in FIELD_TYPES and _is_fields_call(value.func):
            model.fields[name] = _field(kind, value)
        elif kind in CONSTRAINTS:
            model.constraints[name] = (_without_message(value), value.lineno)


def _without_message(call: ast.Call) -> str:
    """Return a constraint's source without the sentence for people."""
    return f"{_last_name(call.func)}({', '.join(ast.unparse(argument) for argument in call.args[:1])})"


def _is_fields_call(func: ast.expr) -> bool:
    return isinstance(func, ast.Name) or (isinstance(func, ast.Attribute) and _last_name(func.value) == "fields")


def _field(kind: str, call: ast.Call) -> Field:
    schema = {}
    position = FIELD_POSITION.get(kind)
    if position and call.args:
        schema[position] = ast.unparse(call.args[0])
    if kind == "One2many" and len(call.args) > 1:
        schema["inverse_name"] = ast.unparse(call.args[1])
    for keyword in call.keywords:
        if keyword.arg in SCHEMA_ARGUMENTS:
            schema[keyword.arg] = ast.unparse(keyword.value)
    has_default = any(keyword.arg == "default" for keyword in call.keywords)
    return Field(kind, call.lineno, tuple(sorted(schema.items())), has_default)


def _read_constrains(model: Model, node: ast.ClassDef) -> None:
    """Take methods under `@api.constrains` for constraints, by their whole source."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and any(
            _last_name(decorator.func) == "constrains"
            for decorator in item.decorator_list
            if isinstance(decorator, ast.Call)
        ):
            model.python_constraints[item.name] = (ast.unparse(item), item.lineno)


def _read_call(node: ast.Call, source: Source) -> None:
    name = _last_name(node.func)
    if name in ("execute", "executemany", "execute_values") and _is_cursor(node):
        source.sql[ast.unparse(node)] = node.lineno
    elif name == "sudo" and isinstance(node.func, ast.Attribute):
        source.sudo.append(node.lineno)


def _is_cursor(node: ast.Call) -> bool:
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    name = _last_name(owner) if owner is not None else ""
    return name in ("cr", "_cr", "cursor") or name.endswith("_cr") or _last_name(node.func) == "execute_values"


def _read_subscript(node: ast.Subscript, source: Source) -> None:
    if _last_name(node.value) in ("env", "pool") and (name := _literal(node.slice)):
        source.used_models.setdefault(name, node.lineno)


def _read_route(node: ast.FunctionDef | ast.AsyncFunctionDef, source: Source) -> None:
    """Note routes that anybody may call, or that a foreign page may post to."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and _last_name(decorator.func) == "route":
            given = {keyword.arg: _value(keyword.value) for keyword in decorator.keywords}
            if given.get("auth") in ("public", "none") or given.get("csrf") is False:
                source.open_routes[ast.unparse(decorator)] = decorator.lineno


def _assignments(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for item in node.body:
        if isinstance(item, ast.Assign):
            for target in item.targets:
                if isinstance(target, ast.Name):
                    yield target.id, item.value
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is not None:
            yield item.target.id, item.value


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Call):
        return _last_name(node.func)
    return node.id if isinstance(node, ast.Name) else ""


def _literal(node: ast.AST | None) -> str:
    value = _value(node)
    return value if isinstance(value, str) else ""


def _value(node: ast.AST | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _all(node: ast.AST | None) -> list[str]:
    if isinstance(node, (ast.List, ast.Tuple)):
        return [name for item in node.elts if (name := _literal(item))]
    return [name] if (name := _literal(node)) else []


def _first(node: ast.AST | None) -> str:
    return next(iter(_all(node)), "")
