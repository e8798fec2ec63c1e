"""A dot in a box, by the protocol of docs/worlds.md; what is to go wrong, and after how many answers, are arguments."""
import base64, json, os, random, sys, time

wrong, after = (sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 2 else ("", 0)
SIDE = 16


def answer(ask, layout=(), state=(), goal=(), action=(), seed=0, split="", steps=0):
    if ask == "spec":
        name = "other" if wrong == "other" else "dot"
        able = [] if wrong == "bare" else ["behave", "oracle", "greedy"]
        return {"name": name, "observation": [1, SIDE, SIDE], "state": 3, "place": 2, "layout": 1, "action": 2, "most": 0.2, "can": able}
    if ask == "reset":
        drawn = random.Random(f"{split} {seed}")
        here, there = [[drawn.random(), drawn.random(), 0.0] for _ in range(2)]
        return {"layout": [0.5], "state": here, "goal": there}
    if ask == "step":
        return {"state": [min(max(x + a, 0.0), 1.0) for x, a in zip(state, action)] + [state[2] + 1.0]}
    if ask == "render":
        column, row = (min(int(x * SIDE), SIDE - 1) for x in state[:2])
        picture = bytearray(SIDE * SIDE)
        picture[row * SIDE + column] = 255
        return {"bytes": base64.b64encode(bytes(picture)).decode()}
    if ask == "success":
        return {"success": max(abs(x - y) for x, y in zip(state[:2], goal)) < 0.1}
    if ask == "behave":
        drawn = random.Random(seed)
        return {"actions": [drawn.uniform(-0.2, 0.2) for _ in range(2 * steps)]}
    if ask in ("oracle", "greedy"):
        return {"action": [min(max(y - x, -0.2), 0.2) for x, y in zip(state[:2], goal)]}


for count, line in enumerate(sys.stdin):
    answered = answer(**json.loads(line))
    if wrong and count >= after:
        if wrong == "ends":
            sys.exit(3)
        if wrong == "silent":
            time.sleep(20)
        if wrong == "closed":
            os.close(1)
            time.sleep(20)
        if wrong == "error":
            answered = {"error": "the dot is lost"}
        if wrong == "text":
            print("a dot, somewhere", flush=True)
            continue
        for key in answered.keys() & {"state", "actions", "goal"}:
            if wrong == "short":
                answered[key] = answered[key][1:]
            if wrong == "nothing":
                answered[key] = [1e39] * len(answered[key])
        if wrong == "short" and "bytes" in answered:
            answered["bytes"] = "AAAA"
    print(json.dumps(answered), flush=True)
