"""An environment of Gymnasium as a world of Foretell:

    FORETELL_WORLD="python3 docs/gymnasium_world.py CartPole-v1" foretell train le-wm --world program --set model.reach=0

A state is what the environment shows, the seed of its episode and all actions since then: so a state can be come back to without the
environment's help, by playing its actions again. An episode that has ended stays where it is.
"""
import argparse, base64, json, sys
import gymnasium, numpy

asked = argparse.ArgumentParser()
asked.add_argument("id")
asked.add_argument("--steps", type=int, default=200, help="no episode is longer")
asked.add_argument("--goal", type=int, default=20, help="a goal is what so many random actions lead to")
asked.add_argument("--near", type=float, default=0.5, help="so near to the goal is there, in the units of what is shown")
asked.add_argument("--pixels", type=int, default=0, help="show pictures of this side, in place of numbers")
asked = asked.parse_args()
# Its own limit of steps would end episodes, and after an end a single environment is not to be stepped.
make = lambda: gymnasium.make(asked.id, max_episode_steps=-1, render_mode="rgb_array" if asked.pixels else None)
first = make()
space, shown = first.action_space, first.observation_space
discrete = isinstance(space, gymnasium.spaces.Discrete)
width, place = (int(space.n) if discrete else int(numpy.prod(space.shape))), int(numpy.prod(shown.shape))
spare, kept = [first], {}  # environments that wait, and others by the history that they have behind them
key = lambda history: numpy.asarray(history, numpy.float32).tobytes()


def act(env, action):
    """Steps, unless the episode has ended. The largest of several numbers chooses; others reach from the lowest to the highest."""
    if not env.ended:
        action = numpy.asarray(action, numpy.float32)
        chosen = action.argmax() + space.start if discrete else (
            space.low + (action.reshape(space.shape) + 1) / 2 * (space.high - space.low)).astype(space.dtype)
        seen, _, ended, cut, _ = env.step(chosen)
        env.seen, env.ended = numpy.ravel(seen), ended or cut


def at(state):
    """The environment where this state is, and the history that led there."""
    seed, count = int(state[place]), int(state[place + 1])
    actions = [state[place + 2 + i * width:][:width] for i in range(count)]
    env = kept.pop(key(state[place:]), None)
    if env is None:
        env = spare.pop() if spare else make()
        env.seen, env.ended = numpy.ravel(env.reset(seed=seed)[0]), False
        for action in actions:
            act(env, action)
    return env, seed, actions


def keep(env, seed, actions):
    """The state of an environment, which is kept in case that it goes on from there."""
    free = (asked.steps - len(actions)) * width
    history = [float(seed), float(len(actions)), *(float(x) for action in actions for x in action), *[0.0] * free]
    kept[key(history)] = env
    if len(kept) > 64:
        spare.append(kept.pop(next(iter(kept))))
    return [float(x) for x in env.seen] + history


def answer(ask, layout=(), state=(), goal=(), action=(), seed=0, split=""):
    if ask == "spec":
        picture = [3, asked.pixels, asked.pixels] if asked.pixels else [place, 1, 1]
        return {"name": asked.id, "observation": picture, "state": place + 2 + asked.steps * width, "place": place, "action": width}
    if ask == "reset":
        # What is held out never comes up in training: even seeds are for the one, odd for the other.
        seed = seed // 2 * 2 + (split == "held-out")
        random = numpy.random.default_rng(seed)
        start = [0.0] * place + [float(seed), 0.0] + [0.0] * asked.steps * width
        state = there = answer("step", state=start, action=None)["state"]
        for action in random.uniform(-1, 1, [asked.goal, width]).astype(numpy.float32):
            there = answer("step", state=there, action=action)["state"]
        return {"state": state, "goal": there}
    if ask == "success":
        near = numpy.subtract(state[:place], goal[:place])
        return {"success": bool(numpy.linalg.norm(near) <= asked.near)}
    env, seed, actions = at(state)
    if ask == "step":
        if action is not None and len(actions) < asked.steps:
            act(env, action)
            actions = [*actions, action]
        return {"state": keep(env, seed, actions)}
    if ask == "render":
        seen, picture = [float(x) for x in env.seen], None
        if asked.pixels:
            from PIL import Image
            picture = Image.fromarray(env.render()).convert("RGB").resize((asked.pixels, asked.pixels), Image.Resampling.BOX)
            picture = base64.b64encode(numpy.asarray(picture).transpose(2, 0, 1).tobytes()).decode()
        keep(env, seed, actions)
        return {"bytes": picture} if asked.pixels else {"observation": seen}
    return {"error": f"this world does not know `{ask}`"}


for line in sys.stdin:
    print(json.dumps(answer(**json.loads(line))), flush=True)
