"""JSON Schema as we publish it: as strict as the models, without headings that only repeat a field's name."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

Schema = dict[str, Any]


class PublishedSchema(GenerateJsonSchema):
    """Pydantic's generator, with maps closed to keys that no pattern allows."""

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        json_schema = super().dict_schema(schema)
        if "patternProperties" in json_schema:
            json_schema["additionalProperties"] = False
        return json_schema

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def as_header_text(schema: Schema) -> Schema:
    """The same fields as Kafka headers carry them: every value is text."""
    return schema | {"properties": {name: _text(field) for name, field in schema["properties"].items()}}


def _text(field: Schema) -> Schema:
    if field.get("type") != "integer":
        return field
    return {**field, "type": "string", "pattern": "^-?[0-9]+$"}
