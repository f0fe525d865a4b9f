#!/usr/bin/env bash
# smoke.sh [SECONDS]: builds all fuzz targets with whatever compiler there is and runs each for so long, two at a time,
# from the seeds in corpus/. Fails where one crashes, hangs or takes too much memory, and shows the input.
set -euo pipefail
cd "$(dirname "$0")"
seconds="${1:-60}"

# Dependencies are shared with a release that was built before.
RUSTC_WRAPPER="$PWD/instrument.sh" cargo build --release --locked --bins --target-dir ../target

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
if [ -w /dev/shm ]; then
    TMPDIR="$(mktemp -d -p /dev/shm)"
    trap 'rm -rf "$work" "$TMPDIR"' EXIT
    export TMPDIR
fi

run() {
    mkdir "$work/$1"
    if ! RAYON_NUM_THREADS=1 "../target/release/$1" "$work/$1" "corpus/$1" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=1024 -malloc_limit_mb=256 -artifact_prefix="$work/$1." >"$work/$1.log" 2>&1; then
        tail -n 40 "$work/$1.log"
        for input in "$work/$1".*-*; do
            echo "$1: the input, in base64"
            base64 "$input"
        done
        return 255
    fi
    printf '%-12s %s\n' "$1" "$(grep -a DONE "$work/$1.log")"
}
export -f run
export seconds work
for target in corpus/*/; do basename "$target"; done | xargs -P 2 -I{} bash -c 'run {}'
