/* A read() that answers EAGAIN for files whose path contains FAKE_ASLEEP, as the drivers of a Jetson do for a part
 * of the chip that has no power. Preloaded: gcc -shared -fPIC -o asleep.so asleep.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int asleep(int opened) {
    const char *part = getenv("FAKE_ASLEEP");
    char name[64], path[4096];
    ssize_t length;
    if (!part) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", opened);
    length = readlink(name, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, part) != NULL;
}

ssize_t read(int opened, void *to, size_t bytes) {
    if (asleep(opened)) {
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_read, opened, to, bytes);
}
