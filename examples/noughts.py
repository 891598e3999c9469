# Noughts and crosses, as a program of --exec. Who speaks first plays X:
#
#   turnchat server … --exec python3 examples/noughts.py [GAMES]
#   turnchat client … --exec python3 examples/noughts.py [GAMES]
#
# With `turnchat … --json --exec` and --json at the end it takes events and gives
# commands. A message holds all there is to know, so that the program needs no
# memory: "game 1, X takes 5: ....X....", the cells numbered from 1, and behind
# the last move of a game "X wins" or "draw".
import json, os, random, sys

LINES = ["123", "456", "789", "147", "258", "369", "159", "357"]
GAMES = next((int(word) for word in sys.argv[1:] if word.isdigit()), 1)


def cells(board, mark):
    return [str(n) for n, cell in enumerate(board, 1) if cell == mark]


def wins(board, mark):
    return any(all(n in cells(board, mark) for n in line) for line in LINES)


def put(board, mark, cell):
    return board[: int(cell) - 1] + mark + board[int(cell) :]


def move(game, mark, board):
    """Wins if it can, else prevents a loss if it can, else takes any cell."""
    free = cells(board, ".")
    random.shuffle(free)
    other = "O" if mark == "X" else "X"
    winning = [cell for cell in free if wins(put(board, mark, cell), mark)]
    losing = [cell for cell in free if wins(put(board, other, cell), other)]
    cell = (winning or losing or free)[0]
    board = put(board, mark, cell)
    end = f" {mark} wins" if winning else "" if cells(board, ".") else " draw"
    return f"game {game}, {mark} takes {cell}: {board}{end}"


def answer(message):
    """The next move after this one; None after the last game."""
    if message is None:
        return move(1, "X", "." * 9)
    _, game, mark, _, _, board, *end = message.replace(",", "").replace(":", "").split()
    if not end:
        return move(game, "O" if mark == "X" else "X", board)
    # Who has not had the last word begins the next game.
    return move(int(game) + 1, "X", "." * 9) if int(game) < GAMES else None


def say(message, turn=None):
    if message is None:
        sys.exit(0)
    if turn is not None:
        message = json.dumps({"say": {"text": message, "turn": turn}})
    print(message, flush=True)


if "--json" in sys.argv:
    heard = None
    for line in sys.stdin:
        event = json.loads(line)
        if event["event"] == "turn" and event["speaker"] == "peer":
            heard = event["text"]
        elif event["event"] == "your-turn":
            say(answer(heard), event["turn"])
else:
    if os.environ["TURNCHAT_ROLE"] == "server":
        say(answer(None))
    for line in sys.stdin:
        say(answer(line))
