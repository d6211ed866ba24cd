#!/usr/bin/env bash
# Runs every fuzzing target for a while, two at a time.
# Usage: spec/fuzz/run.bash BUILD SECONDS [TARGET …]
# What was found stays in BUILD/found, the corpus in BUILD/corpus.
set -u
build=$1 duration=$2
# libFuzzer's own look for leaks after each input takes garbage for one;
# there is one at the end.
export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1
export UBSAN_OPTIONS=print_stacktrace=1

run() {
  local name=$1 program=$build/target
  [ "$name" = http1 ] && program=$build/http1
  local log=$build/$name.log
  mkdir -p "$build/corpus/$name" "$build/found"
  TARGET=$name "$program" -max_total_time="$duration" -timeout=5 \
    -rss_limit_mb=1024 -detect_leaks=0 -use_value_profile=1 \
    -max_len=16384 -artifact_prefix="$build/found/$name-" \
    "$build/corpus/$name" "$build/seeds/$name" >"$log" 2>&1
  local status=$?
  local units features
  units=$(sed -n 's/^#\([0-9]*\)\tDONE.*/\1/p' "$log")
  features=$(sed -n 's/.*DONE.* ft: \([0-9]*\).*/\1/p' "$log")
  if [ $status = 0 ] && [ -n "$units" ]; then
    printf '%-10s %10d inputs, %6d features\n' "$name" "$units" "$features"
  else
    printf '%-10s FAILED\n' "$name"
    tail -n 40 "$log"
    return 1
  fi
}

if [ $# -gt 2 ]; then
  names=("${@:3}")
else
  names=(http1)
  for file in spec/fuzz/*.lua; do
    name=$(basename "$file" .lua)
    [ "$name" = seeds ] || names+=("$name")
  done
fi

failed=0
for ((i = 0; i < ${#names[@]}; i += 2)); do
  jobs=()
  for name in "${names[@]:i:2}"; do
    run "$name" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || failed=$((failed + 1)); done
done
echo "$((${#names[@]} - failed)) passed, $failed failed"
[ $failed = 0 ]
