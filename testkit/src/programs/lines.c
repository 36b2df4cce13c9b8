/* Writes numbered lines at an even pace: line N is due at N / rate seconds. Ends with 3 when a write was held up. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    long lines = atol(argv[1]), rate = atol(argv[2]);
    double limit = atof(argv[3]), start = now(), worst = 0;
    (void)argc;
    for (long line = 1; line <= lines; line++) {
        while (now() < start + (double)line / rate)
            usleep(500);
        double before = now();
        char text[32];
        int size = snprintf(text, sizeof text, "%ld\n", line);
        if (write(1, text, size) != size)
            return 2;
        double took = now() - before;
        if (took > worst)
            worst = took;
    }
    fprintf(stderr, "longest write %.6f s\n", worst);
    return worst > limit ? 3 : 0;
}
