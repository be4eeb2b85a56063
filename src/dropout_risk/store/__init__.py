"""What the service keeps: keys, score runs and the audit, in SQLite or PostgreSQL.

`database` connects, `schema` describes the tables, `migrations` makes and changes them; `keys`, `runs` and `audit`
read and write them. Nothing here keeps a name or what a roster held: of a student only the id, the place, the risk
and its reasons.
"""
