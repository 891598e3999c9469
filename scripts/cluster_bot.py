"""What each node of `cluster.py` runs for a conversation: it answers with what nobody could say a
second time, after up to S seconds, and writes down what it has said and heard.

    cluster_bot.py DIRECTORY S
"""

import json
import os
import pathlib
import random
import sys
import time

LONG = 64 * 1024  # bytes; the most that a message may have

directory = pathlib.Path(sys.argv[1])
directory.mkdir(exist_ok=True)
log = open(directory / f"{os.getpid()}-{os.urandom(4).hex()}", "a", buffering=1)
for line in sys.stdin:
    event = json.loads(line)
    log.write(line)
    if event["event"] == "your-turn":
        time.sleep(random.uniform(0, float(sys.argv[2])))
        text = f"{event['turn']} {os.urandom(8).hex()} "
        if os.urandom(1)[0] < 13:  # 1 in 20
            text = text.ljust(LONG, "x")
        print(json.dumps({"say": {"text": text, "turn": event["turn"]}}), flush=True)
