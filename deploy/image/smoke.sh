#!/usr/bin/env bash
# Check an environment: its compiled libraries, the service's application, and the command by a fit on forty events.
# Starts no Ray. The image's last build step, and a test.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python - <<'PYTHON'
import av, bm25s, cryptography, faiss, implicit, numpy, openvino, polars, pyarrow, ray, redis, scipy, sklearn, torch, torchaudio, torchvision
import platform

if platform.machine() == "x86_64":
    import decord
from vrec.serving.app import build
from vrec.config.serve import ServeConfig

build(ServeConfig(bundle="none"))
print(f"torch {torch.__version__}, ray {ray.__version__}, GPU: {torch.cuda.is_available()}")
PYTHON

{
    echo user_id,video_id,kind,at
    for user in 1 2 3 4 5 6 7 8 9 10; do
        for video in 1 2 3 4; do
            echo "u$user,v$(((user + video * video) % 7)),like,2026-01-0$video $((9 + user)):$((10 + user * video)):00"
        done
    done
} > "$folder/events.csv"
vrec fit --model item_knn --events "$folder/events.csv" --out "$folder/model"
test -s "$folder/model/manifest.json"
echo "this environment works"
