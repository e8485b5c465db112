"""The published specification: Swagger 2.0 models from the request models and the views.

Swagger 2.0 knows neither ``null`` nor numeric exclusive bounds nor patterns of names; here they become
``x-nullable``, booleans and ``x-names``.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeVar

from flask_restx import Namespace
from pydantic import BaseModel, TypeAdapter

from vai_app.api.conventions import CSV, JSON
from vai_app.api.views import ProblemDetails
from vai_app.domain.policies import PERMISSIONS

F = TypeVar("F", bound=Callable[..., Any])

PROBLEM_TYPE = "application/problem+json"
_BEFORE_IT_IS_READ = (408, 429, 431)
_ALWAYS = (401, 406, 503)


def documented(  # noqa: PLR0913 - one parameter a thing that is published
    namespace: Namespace,
    status: int,
    view: type,
    *,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    problems: Iterable[int] = (),
    headers: Iterable[str] = (),
    may: str | None = None,
    csv: bool = False,
    public: bool = False,
) -> Callable[[F], F]:
    """Describe a method: what it takes, what it answers, and every problem it may answer instead.

    ``csv`` says that it can answer a table too.
    ``may`` is the permission that its caller must carry; a method is ``public`` or has one.
    """
    if public == (may is not None) or (may is not None and may not in PERMISSIONS):
        message = f"An endpoint is public or declares one known permission, not {may!r}."
        raise TypeError(message)

    def decorate(method: F) -> F:
        codes = {*problems, *_BEFORE_IT_IS_READ}
        if not public:
            codes |= {*_ALWAYS, 403}
        if body is not None:
            codes |= {400, 411, 413, 415, 422}
        if query is not None:
            codes |= {422}
        described: Any = method
        described = namespace.response(status, HTTPStatus(status).phrase, model_of(namespace, view))(described)
        for code in sorted(codes):
            described = problem(namespace, code)(described)
        if body is not None:
            described = namespace.expect(model_of(namespace, body), validate=False)(described)
        parameters = _query_parameters(query) if query else {}
        parameters |= {name: _HEADERS[name] for name in headers}
        described.produces = [JSON, *([CSV] if csv else ()), PROBLEM_TYPE]
        described = namespace.doc(params=parameters, produces=described.produces)(described)
        if public:
            described = namespace.doc(security=[])(described)
        else:
            described = namespace.doc(vendor={"x-permission": may})(described)
            described.permission = may
        return described  # type: ignore[no-any-return] # the same function, annotated

    return decorate


def problem(namespace: Namespace, code: int) -> Callable[[F], F]:
    """Describe a problem that a method may answer."""
    headers = _LIMIT_HEADERS if code == HTTPStatus.TOO_MANY_REQUESTS else {}
    decorate: Callable[[F], F] = namespace.response(
        code, HTTPStatus(code).phrase, model_of(namespace, ProblemDetails), headers=headers
    )
    return decorate


def before_it_is_read(namespace: Namespace) -> Callable[[F], F]:
    """Describe what any request may be answered before it reaches its method."""

    def decorate(method: F) -> F:
        for code in _BEFORE_IT_IS_READ:
            method = problem(namespace, code)(method)
        return method

    return decorate


_LIMIT_HEADERS = {
    "Retry-After": "Seconds until the next request may come.",
    "RateLimit": "The limit that refused, what remains of it (r), and in how many seconds (t) it is whole again.",
    "RateLimit-Policy": "How many requests (q) the limit allows in how many seconds (w).",
}


def also_answers(namespace: Namespace, status: int, view: type) -> Callable[[F], F]:
    """Describe a second good answer of a method."""
    decorate: Callable[[F], F] = namespace.response(status, HTTPStatus(status).phrase, model_of(namespace, view))
    return decorate


_HEADERS = {
    "Idempotency-Key": {
        "in": "header",
        "type": "string",
        "pattern": "^[!-~]{1,128}$",
        "description": "The same key and request returns the same operation; the key with another request is 422.",
    },
    "If-Match": {
        "in": "header",
        "type": "string",
        "required": True,
        "pattern": '^"[0-9]{1,9}"$',
        "description": "The ETag that the change is based on.",
    },
}


def model_of(namespace: Namespace, kind: type) -> Any:
    """Publish the schema of a request model or a view and return it."""
    schema = TypeAdapter(kind).json_schema(ref_template="#/definitions/{model}", mode=_mode(kind))
    for name, definition in schema.pop("$defs", {}).items():
        namespace.schema_model(name, _swagger(definition))
    return namespace.schema_model(kind.__name__, _swagger(schema))


def _mode(kind: type) -> Any:
    return "validation" if issubclass(kind, BaseModel) else "serialization"


def _query_parameters(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/definitions/{model}")
    definitions = schema.get("$defs", {})
    parameters = {}
    for name, found in schema["properties"].items():
        swagger = _swagger(_resolved(found, definitions))
        allowed = ("type", "enum", "format", "minimum", "maximum", "minLength", "maxLength", "pattern", "default")
        kept = {key: value for key, value in swagger.items() if key in allowed and value is not None}
        parameters[name] = {"in": "query", "description": found.get("description", ""), **kept}
    return parameters


def _resolved(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, dict):
        if "$ref" in schema:
            return {
                **definitions[schema["$ref"].rpartition("/")[2]],
                **{k: v for k, v in schema.items() if k != "$ref"},
            }
        return {key: _resolved(value, definitions) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_resolved(each, definitions) for each in schema]
    return schema


def _swagger(schema: Any) -> Any:
    """Return a JSON schema in the dialect of Swagger 2.0."""
    if isinstance(schema, list):
        return [_swagger(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: value for key, value in schema.items() if key not in ("title", "propertyNames")}
    if "patternProperties" in schema:
        schema |= _any_properties(schema.pop("patternProperties"))
    if "anyOf" in schema:
        return _nullable(schema)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if not isinstance(schema.get(exclusive), bool) and exclusive in schema:
            schema |= {bound: schema[exclusive], exclusive: True}
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    return {
        key: {name: _swagger(each) for name, each in value.items()} if key == "properties" else _swagger(value)
        for key, value in schema.items()
    }


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return ``X | None``, the only choice that is published."""
    chosen = next(choice for choice in schema.pop("anyOf") if choice != {"type": "null"})
    if schema.get("default", ...) is None:
        del schema["default"]
    if "$ref" in chosen:
        return {"allOf": [_swagger(chosen)], "x-nullable": True, **_swagger(schema)}
    return {**_swagger(chosen), **_swagger(schema), "x-nullable": True}


def _any_properties(by_pattern: dict[str, Any]) -> dict[str, Any]:
    """Return what Swagger 2.0 can say of properties that are known by the pattern of their names only."""
    ((pattern, schema),) = by_pattern.items()
    return {"additionalProperties": schema, "x-names": pattern}
