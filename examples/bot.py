# Says back what it hears. turnchat's events come in, its commands go out.
import json, signal, sys

# Ctrl-C is for turnchat. When that ends, so does our input.
signal.signal(signal.SIGINT, signal.SIG_IGN)

GREETING = "Speak, and I repeat it."
answer = GREETING
for line in sys.stdin:
    event = json.loads(line)
    if event["event"] == "connected" and not event["resumed"]:
        answer = GREETING
    elif event["event"] == "turn" and event["speaker"] == "peer":
        answer = "You said: " + event["text"]
    elif event["event"] == "your-turn":
        on = event["conversation"]
        say = {"text": answer, "turn": event["turn"], "conversation": on}
        print(json.dumps({"say": say}), flush=True)
