"""In the agent's container: tell how long the steps of an environment's last operation of a kind took.

steps.py ENVIRONMENT [KIND]
"""

import json
import sqlite3
import sys
from datetime import datetime

from odooops_agent.settings import read_settings

environment, kind = (*sys.argv[1:], "deploy")[:2]
path = f"file:{read_settings().state_dir}/journal.sqlite?mode=ro"
with sqlite3.connect(path, uri=True) as journal:
    (operation,) = journal.execute(
        "SELECT max(id) FROM operation WHERE environment = ? AND kind = ?", (environment, kind)
    ).fetchone()
    rows = journal.execute(
        "SELECT name, started_at, finished_at FROM step WHERE operation_id = ? ORDER BY seq", (operation,)
    ).fetchall()


def at(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


print(json.dumps([{"name": name, "began": at(began), "ended": at(ended or began)} for name, began, ended in rows]))
