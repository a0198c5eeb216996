"""ClickHouse's own engine in this process, with the project's tables."""

import json
import re
import subprocess

from chdb import session

# What a server has and the engine does not.
NOT_HERE = re.compile(r"(CREATE ROLE|GRANT|CREATE SETTINGS PROFILE)")
# As the plugin asks: numbers as numbers, times as Unix time.
AS_GRAFANA = ("SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_quote_denormals = 1, "
              "date_time_output_format = 'unix_timestamp'")


class Store:
    """A database folder. One process at a time: copy the folder to ask in parallel."""

    def __init__(self, folder):
        self.session = session.Session(str(folder))

    def do(self, sql):
        return self.session.query(sql)

    def column(self, sql):
        """The first column of an answer."""
        return [line.split("\t")[0] for line in self.session.query(sql, "TSV").data().splitlines()]

    def ask(self, database, sql, settings=""):
        """Columns and rows as the data source would get them, with seconds and rows read."""
        self.do(f"USE {database}")
        answer = json.loads(self.session.query(f"{sql}\n{', '.join(filter(None, (AS_GRAFANA, settings)))}", "JSONCompact").bytes())
        return {"meta": answer["meta"], "data": answer["data"], "seconds": answer["statistics"]["elapsed"], "read": answer["statistics"]["rows_read"]}

    def close(self):
        self.session.close()


def schema(root):
    """The project's own statements, as its binary prints them."""
    command = ["cargo", "run", "--quiet", "--release", "--", "--config", str(root / "config/waypost.toml"), "schema"]
    printed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    lines = (line for line in printed.splitlines() if not line.strip().startswith("--"))
    statements = (statement.strip() for statement in re.split(r";\s*\n", "\n".join(lines) + "\n"))
    return [statement for statement in statements if statement and not NOT_HERE.match(statement)]


def create(store, statements, database):
    """The project's tables in a database of this name."""
    for statement in statements:
        store.do(statement.replace("waypost.", f"{database}.").replace("EXISTS waypost", f"EXISTS {database}"))
