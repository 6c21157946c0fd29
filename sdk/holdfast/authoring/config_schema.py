"""The JSON Schema of an executor's config."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


def config_schema(model: type[BaseModel]) -> dict[str, Any]:
    """What documents may write for a config, as nodes are checked and forms are made."""
    return model.model_json_schema(by_alias=True, schema_generator=_ConfigSchema)


def spellings(model: type[BaseModel], name: str) -> list[str]:
    """The names by which a config may give the field that has this name or alias; none if there is no such field."""
    for field, info in model.model_fields.items():
        alias = info.validation_alias
        aliases = alias.choices if isinstance(alias, AliasChoices) else [alias]
        names = [field, *(one for one in aliases if isinstance(one, str))]
        if name in names:
            return names
    return []


class _ConfigSchema(GenerateJsonSchema):
    """Says of a tagged union that its tag is required: pydantic asks for it also where the field has a default."""

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        made = super().tagged_union_schema(schema)
        tag = made.get("discriminator", {}).get("propertyName")
        return {**made, "required": [tag]} if tag else made
