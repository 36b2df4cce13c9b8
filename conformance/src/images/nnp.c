/* Installed with the setuid bit: shows whether a process can still gain what it did not have. */
#include <stdio.h>
#include <unistd.h>

int main(void) {
    printf("Effective uid: %d\n", (int)geteuid());
    return 0;
}
