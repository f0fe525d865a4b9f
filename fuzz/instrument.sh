#!/usr/bin/env bash
# A compiler wrapper (RUSTC_WRAPPER) that has only Fenchel itself count which of its branches are taken. Everything
# else is compiled as it is for a release, so that it can be shared with one (--target-dir). Works with any compiler.
rustc="$1"
shift
case " $* " in
    *" --crate-name fenchel "*)
        exec "$rustc" "$@" -Cpasses=sancov-module \
            -Cllvm-args=-sanitizer-coverage-level=3 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
            -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares
        ;;
    *) exec "$rustc" "$@" ;;
esac
