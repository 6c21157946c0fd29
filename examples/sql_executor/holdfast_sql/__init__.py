"""SQL for Holdfast: the executor `sql`, and `query` for workflows in code."""

from holdfast_sql.executor import Sql as Sql
from holdfast_sql.executor import SqlConfig as SqlConfig
from holdfast_sql.executor import SqlOutput as SqlOutput
from holdfast_sql.executor import query as query

__all__ = ["Sql", "SqlConfig", "SqlOutput", "query"]
