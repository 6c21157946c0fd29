"""The audit: what is wrong, or not to be relied on, in DAGs and in workflow code. Pure; nothing is imported or run."""

from holdfast.spec.audit.code.source import CodeFinding as CodeFinding
from holdfast.spec.audit.code.source import audit_source as audit_source
from holdfast.spec.audit.code.source import declares_dag as declares_dag
from holdfast.spec.audit.document import audit_document as audit_document
from holdfast.spec.audit.document import unreadable as unreadable
from holdfast.spec.audit.kind import is_dag_document as is_dag_document
from holdfast.spec.audit.level import LEVELS as LEVELS
from holdfast.spec.audit.level import Level as Level
from holdfast.spec.audit.rules import RULES as RULES
from holdfast.spec.audit.spec import audit_spec as audit_spec

__all__ = [
    "LEVELS",
    "RULES",
    "CodeFinding",
    "Level",
    "audit_document",
    "audit_source",
    "audit_spec",
    "declares_dag",
    "is_dag_document",
    "unreadable",
]
