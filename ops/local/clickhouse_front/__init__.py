"""ClickHouse's HTTP interface over the engine that lives in this process (`chdb`).

For laptops and tests: one server process per data path, the same clients as in production.
"""
