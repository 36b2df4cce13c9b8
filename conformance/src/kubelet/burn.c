/* Spends what can be counted: "cpu SECONDS" of processor time or "memory MIB" of memory; then waits to
   be ended. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double spent(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    double amount = argc > 2 ? atof(argv[2]) : 0;
    if (argc < 3)
        return 2;
    if (!strcmp(argv[1], "cpu")) {
        while (spent() < amount)
            ;
        printf("spent %.9f\n", spent());
    } else {
        size_t size = (size_t)(amount * (1 << 20));
        char *held = malloc(size);
        if (!held)
            return 1;
        /* Not zeros: every page must be one of its own. */
        memset(held, 1, size);
        printf("holds %zu\n", size);
        fflush(stdout);
        pause();
        return held[0];
    }
    fflush(stdout);
    pause();
    return 0;
}
