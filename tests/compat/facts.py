"""What users of the program see of it, as plain JSON: commands, requests and answers, settings, metrics, tables, codes."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command

from tests.compat import program
from tests.compat.places import ROOT


def commands() -> dict[str, Any]:
    """Every command with its arguments and options, by its words."""
    return dict(_commands(get_command(program.command_line()), "portrait"))


def _commands(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", {})
    for name, each in sorted(below.items()):
        yield from _commands(each, f"{words} {name}")
    if not below:
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        options = {
            name: {
                "required": each.required,
                "default": _plain(each.default),
                "repeated": each.multiple,
                "values": [value for value in get_args(each.type_descriptor.annotation) if isinstance(value, str)],
            }
            for each in command.params
            if each.param_type_name == "option"
            for name in (*each.opts, *each.secondary_opts)
        }
        told = {each.metavar or each.name: {"required": each.required, "many": each.nargs == -1} for each in arguments}
        yield words, {"arguments": told, "options": options}


def _plain(value: Any) -> Any:
    """A default as JSON; Typer wraps what has no default."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def wire(document: Mapping[str, Any]) -> dict[str, Any]:
    """An OpenAPI document without the names of its components: of each operation parameters, fields sent, fields answered."""
    schemas = document["components"]["schemas"]
    return {
        f"{method.upper()} {path}": _operation(operation, schemas)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def _operation(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    sent = operation.get("requestBody", {}).get("content", {})
    return {
        "parameters": {
            each["name"]: {
                "in": each["in"],
                "required": each.get("required", False),
                "values": sorted(name for name in fields(each["schema"], schemas) if "=" in name),
            }
            for each in operation.get("parameters", [])
        },
        "sent": {media: fields(each["schema"], schemas) for media, each in sent.items()},
        "answered": {
            status: {
                media: sorted(name for name in fields(each.get("schema", {}), schemas) if "=" not in name)
                for media, each in answer.get("content", {}).items()
            }
            for status, answer in operation["responses"].items()
        },
    }


def fields(schema: Mapping[str, Any], schemas: Mapping[str, Any], place: str = "") -> dict[str, bool]:
    """Fields below a schema as `a.b[].*.c`, and whether they are required; values that are listed as `a.b=value`."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[-1]]
    found = {f"{place}={each}": False for each in (*schema.get("enum", ()), *_constant(schema))}
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        found |= fields(each, schemas, place)
    for name, each in schema.get("properties", {}).items():
        below = f"{place}.{name}" if place else name
        found[below] = name in schema.get("required", ())
        found |= fields(each, schemas, below)
    for key, sign in (("items", "[]"), ("additionalProperties", ".*"), ("propertyNames", ".*")):
        if isinstance(schema.get(key), Mapping):
            found |= fields(schema[key], schemas, place + sign)
    return found


def _constant(schema: Mapping[str, Any]) -> list[Any]:
    return [schema["const"]] if "const" in schema else []


def metrics(text: str) -> dict[str, Any]:
    """Prometheus metrics: kind, names of samples, labels."""
    return {
        each.name: {
            "kind": each.type,
            "samples": sorted({sample.name for sample in each.samples}),
            "labels": sorted({label for sample in each.samples for label in sample.labels}),
        }
        for each in text_string_to_metric_families(text)
    }


def settings() -> dict[str, Any]:
    """Every key of `portrait.toml` with its types, its values where they are listed, and its default."""
    found: dict[str, Any] = {}
    for section, schema in program.settings_schemas().items():
        found |= dict(_keys(schema, schema.get("$defs", {}), section))
    return dict(sorted(found.items()))


def _keys(schema: Mapping[str, Any], defs: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    default = {"default": schema["default"]} if "default" in schema else {}
    while "$ref" in schema:
        schema = defs[schema["$ref"].rsplit("/", 1)[-1]]
    for name, each in schema.get("properties", {}).items():
        yield from _keys(each, defs, f"{place}.{name}" if place else name)
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _keys(schema["additionalProperties"], defs, f"{place}.*")
    elif "properties" not in schema:
        types = sorted({each["type"] for each in schema.get("anyOf", [schema]) if "type" in each})
        values = {"values": schema["enum"]} if "enum" in schema else {}
        yield place, {"types": types, **values, **default}


def errors() -> dict[str, list[str]]:
    """Documented error codes with their branches."""
    rows = re.findall(r"^\| `([a-z_]+)` \| ([A-Za-z, ]+) \|", (ROOT / "docs" / "errors.md").read_text("utf-8"), re.M)
    return {code: branches.split(", ") for code, branches in rows}


def tables(ledger: Path) -> dict[str, list[str]]:
    """Tables of a SQLite ledger with their columns."""
    connection = sqlite3.connect(ledger)
    try:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        own = sorted(name for name in names if not name.startswith("sqlite_"))
        return {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in own}
    finally:
        connection.close()
