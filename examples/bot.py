# Says back what it hears. turnchat's events come in, its commands go out.
import json, sys

answer = "Speak, and I repeat it."
for line in sys.stdin:
    event = json.loads(line)
    if event["event"] == "turn" and event["speaker"] == "peer":
        answer = "You said: " + event["text"]
    elif event["event"] == "your-turn":
        say = {"text": answer, "turn": event["turn"]}
        print(json.dumps({"say": say}), flush=True)
