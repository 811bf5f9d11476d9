"""In the agent's container: tell when the first step of each of these operations began.

first_steps.py LOWEST_ID HIGHEST_ID
"""

import json
import sqlite3
import sys
from datetime import datetime

from odooops_agent.settings import read_settings

path = f"file:{read_settings().state_dir}/journal.sqlite?mode=ro"
with sqlite3.connect(path, uri=True) as journal:
    rows = journal.execute(
        "SELECT operation_id, min(started_at) FROM step WHERE operation_id BETWEEN ? AND ? GROUP BY operation_id",
        (int(sys.argv[1]), int(sys.argv[2])),
    ).fetchall()
began = {number: datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() for number, text in rows}
print(json.dumps(began))
