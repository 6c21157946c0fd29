"""The JSON Schema of an executor's config."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


def config_schema(model: type[BaseModel]) -> dict[str, Any]:
    """What documents may write for a config, as nodes are checked and forms are made."""
    return model.model_json_schema(by_alias=True, schema_generator=_ConfigSchema)


class _ConfigSchema(GenerateJsonSchema):
    """Says of a tagged union that its tag is required: pydantic asks for it also where the field has a default."""

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        made = super().tagged_union_schema(schema)
        tag = made.get("discriminator", {}).get("propertyName")
        return {**made, "required": [tag]} if tag else made
