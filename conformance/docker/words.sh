# Words that the scenes use. Each waits for a condition and gives up after ten seconds.

# until_true WORDS...: until the command succeeds.
until_true() {
    for _ in $(seq 100); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    echo "in vain: $*" >&2
    return 1
}

says() { docker logs "$1" 2>&1 | grep -q -- "$2"; }
has() { [ "$(docker inspect --format "$2" "$1")" = "$3" ]; }
attached() { docker events --since 1m --until 0s --filter container="$1" --filter event=attach | grep -q .; }
is_gone() { ! docker inspect "$1"; }

# until_says CONTAINER TEXT
until_says() { until_true says "$@"; }
# until_state CONTAINER STATE
until_state() { until_true has "$1" '{{.State.Status}}' "$2"; }
# until_has CONTAINER FORMAT VALUE
until_has() { until_true has "$@"; }
# until_gone CONTAINER
until_gone() { until_true is_gone "$1"; }
