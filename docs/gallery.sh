#!/bin/sh
# Makes all pictures of docs/gallery.md: runs the commands that stand there, from top to bottom.
# FENCHEL names a program to run in the place of a release build.
set -eu
cd "$(dirname "$0")/.."
if [ -z "${FENCHEL:-}" ]; then
    cargo build --release --quiet
    FENCHEL=target/release/fenchel
fi
mkdir -p target/gallery docs/gallery
sed -n '/^    [fc][ep]/s/^    //p' docs/gallery.md | while read -r program arguments; do
    echo "$program $arguments"
    # Arguments in the page are plain words.
    # shellcheck disable=SC2086
    case $program in
        fenchel) "$FENCHEL" $arguments ;;
        cp) cp $arguments ;;
    esac
done
