"""The read model: runs, steps and what else of them outlasts Temporal's retention, in SQLite or PostgreSQL.

Temporal's histories are the truth; what is here is made from them, and can be made again. Needs `holdfast[store]`.
"""
