#!/usr/bin/env bash
# dist_test.sh CONFIG CHECKPOINT GPUS [ARGS]: a process on each GPU, as MMDetection's own script starts them. NNODES, NODE_RANK,
# MASTER_ADDR and PORT come from the environment.
set -euo pipefail
config=${1:?CONFIG} checkpoint=${2:?CHECKPOINT} gpus=${3:?GPUS}
python -m torch.distributed.run --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" --nproc_per_node="$gpus" \
  "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"
