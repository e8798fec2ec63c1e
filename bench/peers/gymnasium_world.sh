#!/usr/bin/env bash
# docs/gymnasium_world.py with Gymnasium 1.4.0: numbers and pictures, chosen and continuous actions, learnt in and planned in; and what a
# vector environment does at the end of an episode, which docs/worlds.md tells. Needs Python, the network for its packages, and a built
# foretell: bench/peers/gymnasium_world.sh [target/release/foretell]
set -euo pipefail
foretell=$(realpath "${1:-target/release/foretell}")
shim=$(realpath "$(dirname "$0")/../../docs/gymnasium_world.py")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip --quiet install gymnasium==1.4.0 numpy pillow pygame
small=(--set train.batch=4 --set model.reach=0 --set data.window=4 --set data.episode=6 --set judge.episodes=0)

play() {
    export FORETELL_WORLD="$folder/v/bin/python $shim $2"
    echo "== $2"
    SDL_VIDEODRIVER=dummy "$foretell" train le-wm --world program --steps 5 "${small[@]}" --out "$1" > "$1.said" 2>&1 || { cat "$1.said"; exit 1; }
    SDL_VIDEODRIVER=dummy "$foretell" plan "$1" --episodes 5 --steps 20 --horizon 10 --planner random --json > "$1.json"
    # The same once more: an episode is a function of its seed.
    SDL_VIDEODRIVER=dummy RAYON_NUM_THREADS=1 "$foretell" plan "$1" --episodes 5 --steps 20 --horizon 10 --planner random --json > "$1.again.json"
    python3 - "$1" <<'PY'
import json, sys
one, again = (json.load(open(sys.argv[1] + end)) for end in (".json", ".again.json"))
for outcome in (one, again):
    outcome.pop("ms_per_step")
assert one == again, (one, again)
print({key: one[key] for key in ("world", "success", "ever", "controls")})
PY
}
play cart-pole "CartPole-v1"
play pendulum "Pendulum-v1 --near 1.0"
play pictures "CartPole-v1 --pixels 32"

v/bin/python - <<'PY'
import gymnasium, numpy
both = gymnasium.make_vec("CartPole-v1", num_envs=1, vectorization_mode="sync")
seen, _ = both.reset(seed=0)
ended = False
while not ended:
    last, _, stopped, cut, _ = both.step(numpy.array([1]))
    ended = bool(stopped[0] or cut[0])
after, reward, stopped, _, _ = both.step(numpy.array([1]))
print("Gymnasium", gymnasium.__version__, both.metadata["autoreset_mode"])
print("the pole has fallen to", round(float(last[0, 2]), 3), "and after one more action stands at", round(float(after[0, 2]), 3), "with a reward of", float(reward[0]))
assert abs(last[0, 2]) > 0.2 and numpy.abs(after).max() < 0.06 and reward[0] == 0.0 and not stopped[0]
PY
