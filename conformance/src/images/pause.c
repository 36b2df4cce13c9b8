/* The stand-in for a pod's pause program: waits until it is told to end. Its name matters: a test looks for "sleep". */
#include <signal.h>
#include <unistd.h>

static void end(int signal) {
    (void)signal;
    _exit(0);
}

int main(void) {
    /* The first process of a pid namespace gets no signal that it doesn't handle. */
    signal(SIGTERM, end);
    signal(SIGINT, end);
    for (;;)
        pause();
}
