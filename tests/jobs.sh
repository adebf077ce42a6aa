# Read by the test scripts: a list of jobs, run two at a time, in plain POSIX sh; one at a time with
# TWOSTEP_TEST_JOBS=1 in the environment, where others use the machine too.
#
# two_at_a_time LIST FUNCTION SCRATCH
#   calls `FUNCTION NUMBER LINE` for every line of the file LIST. Two workers walk the same list; who
#   makes the folder of a number first (mkdir cannot succeed twice) has the job.

jobs_worker() {
    jobs_number=0
    while IFS= read -r jobs_line; do
        jobs_number=$((jobs_number + 1))
        mkdir "$3/claim.$jobs_number" 2>/dev/null || continue
        "$2" "$jobs_number" "$jobs_line" </dev/null
    done <"$1"
}

two_at_a_time() {
    rm -rf "$3"/claim.*
    jobs_worker "$@" &
    jobs_first=$!
    jobs_second=
    if [ "${TWOSTEP_TEST_JOBS:-2}" != 1 ]; then
        jobs_worker "$@" &
        jobs_second=$!
    fi
    trap 'kill $jobs_first $jobs_second 2>/dev/null; exit 130' INT
    trap 'kill $jobs_first $jobs_second 2>/dev/null; exit 143' TERM HUP
    wait
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# told OUTPUT WORD SECONDS-SINCE-EPOCH LABEL: one line about a job that has ended with the WORD passed or
# failed, its output too if it failed, in one piece, or what it skipped; and the word to $tmp/results.
told() {
    echo "$2" >>"$tmp/results"
    {
        printf '%s %s  %d s\n' "$4" "$2" $(($(date +%s) - $3))
        if [ "$2" = passed ]; then grep '^skip: ' "$1"; else head -n 60 "$1" | sed 's/^/    /'; fi
    } >"$1.told"
    cat "$1.told"
}

# told_sum: the last line, of the jobs in $tmp/jobs and the words in $tmp/results; fails unless all passed.
told_sum() {
    told_passed=$(grep -c passed "$tmp/results")
    told_failed=$(($(wc -l <"$tmp/jobs") - told_passed))
    echo "$told_passed passed, $told_failed failed"
    [ "$told_failed" -eq 0 ] && [ "$told_passed" -gt 0 ]
}

# limited SECONDS COMMAND...: under `timeout` where there is one.
if command -v timeout >/dev/null 2>&1; then
    limited() { timeout -k 5 "$@"; }
else
    limited() { shift; "$@"; }
fi

has() { command -v "$1" >/dev/null 2>&1; }

# program_of TEST: the file that holds it.
program_of() {
    case $1 in
    test_large) echo test_large ;; # wants system headers of its own
    *) echo suite ;;
    esac
}
