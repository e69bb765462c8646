#!/usr/bin/env bash
# setup_env.sh ENV_DIR [STACK]: a virtual environment with the pinned stack (onedl, the default, or openmmlab), MMCV's
# compiled ops and this package.
# The compiled MMCV is kept in the user's cache, by torch and Python version: pip would cache it by its own version alone.
set -euo pipefail
cd "$(dirname "$0")/.."
env=${1:?usage: setup_env.sh ENV_DIR [onedl|openmmlab]}
stack=${2:-onedl}
case $stack in
  onedl) pythons='3.11 3.12 3.13' ;;
  openmmlab) pythons=3.11 ;;
  *) echo "STACK=$stack is none; write onedl or openmmlab" >&2; exit 1 ;;
esac
pin() { grep -E "^$1==" requirements/$stack.txt; }
torch=$(pin torch)
mmcv=$(pin '(onedl-)?mmcv')
mmcv_wheel=$(sed 's/-/_/; s/==/-/' <<<"$mmcv")-*.whl
step() { printf '\n== %s\n' "$*"; }

step "virtual environment $env"
python=$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [[ " $pythons " != *" $python "* ]]; then
  echo "STACK=$stack needs Python ${pythons// / or }, got $python; name another with make PYTHON=..." >&2
  exit 1
fi
"${PYTHON:-python3}" -m venv "$env"
. "$env/bin/activate"
pip() { python -m pip --disable-pip-version-check "$@"; }

step "$torch (the largest download)"
pip install $torch
# what MMCV's build and torch's extension builder need
pip install "$(pin setuptools)" "$(pin numpy)" wheel==0.45.1 ninja packaging

# MMCV builds its CUDA ops only where it sees a GPU
tag=${torch/==/-}-$(python -c 'import sys, torch; print(sys.implementation.cache_tag, ("cpu", "cuda")[torch.cuda.is_available()], sep="-")')
wheels=${XDG_CACHE_HOME:-$HOME/.cache}/mmdet_nrpn/$tag
if ls "$wheels"/$mmcv_wheel >/dev/null 2>&1; then
  step "$mmcv, compiled before: $wheels"
else
  step "$mmcv: compiling its ops, 5 to 10 minutes on two cores"
  mkdir -p "$wheels"
  build=$(mktemp -d "$wheels/build.XXXXXX")
  trap 'rm -rf "$build"; kill "$compiler" 2>/dev/null || true' EXIT
  # Without --no-build-isolation the build does not see torch and leaves the ops out, silently.
  # -g0 halves the time.
  MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-$(nproc)} CFLAGS='-g0 -O2' python -m pip --disable-pip-version-check \
    wheel -v --no-build-isolation --no-deps --no-cache-dir -w "$build" $mmcv >"$build/log" 2>&1 &
  compiler=$!
  while kill -0 $compiler 2>/dev/null; do
    sleep 5
    # ninja counts the files: [12/78]
    printf '\r   compiled %s  ' "$(grep -aoE '^ *\[[0-9]+/[0-9]+\]' "$build/log" | tail -n 1)"
    [ -t 1 ] || echo
  done
  if ! wait $compiler; then
    tail -n 40 "$build/log"
    cp "$build/log" "$wheels/failed.log"
    echo "MMCV did not compile; the whole log is $wheels/failed.log. It needs gcc, g++ and Python's headers, and on a GPU nvcc (CUDA_HOME)." >&2
    exit 1
  fi
  mv "$build"/*.whl "$wheels"
  echo
fi
# forced: of the same version, one for another torch may be there
pip install --no-deps --force-reinstall "$wheels"/$mmcv_wheel

step "the rest of the stack, and this package"
pip install --no-deps -r requirements/$stack.txt -r requirements/dev.txt
pip install --no-deps --no-build-isolation -e .

step "check"
python - <<'PY'
import warnings

warnings.simplefilter('ignore')
import mmdet
import torch
from mmcv.ops import nms

import mmdet_nrpn

device = 'cuda' if torch.cuda.is_available() else 'cpu'
boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], device=device)
kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7], device=device), 0.5)[1].tolist()
assert kept == [0, 2], f'MMCV has wrong ops: nms kept {kept}'
print(f'torch {torch.__version__}, mmdet {mmdet.__version__}, mmdet_nrpn {mmdet_nrpn.__version__}, MMCV has its ops on {device}')
PY
