/* Makes writes, syncs and resizes of one database's files fail on demand, in a process that loads this with LD_PRELOAD.
 *
 * It is steered by a file of 64-bit numbers that the process maps: PANNIERSHIM_CONTROL names it. Only files whose path
 * contains PANNIERSHIM_MARKER are touched. The order of the numbers is known to shim.rs as well.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    /* Written by the test. */
    uint64_t armed;
    uint64_t kinds;     /* bits: which calls count and fail */
    uint64_t error;     /* errno of a failed call */
    uint64_t sticky;    /* whether all calls after the failed one fail too */
    uint64_t countdown; /* the number of the call that fails, from 1; 0: none */
    uint64_t torn;      /* whether a failing write first writes half of its bytes */
    uint64_t stall_ms;  /* how long each sync takes */
    /* Written here. */
    uint64_t matched;    /* calls of these kinds while armed */
    uint64_t failed;     /* failed calls */
    uint64_t first_kind; /* of the first failed call */
    uint64_t first_file; /* of the first failed call: 1 database, 2 WAL, 3 its index, 4 other */
    uint64_t wal_syncs;  /* syncs of the WAL, armed or not */
    uint64_t writes;     /* writes, armed or not */
};

enum { WRITE = 1, SYNC = 2, RESIZE = 4 };

static volatile struct control *control;
static char marker[256];

__attribute__((constructor)) static void map_control(void) {
    const char *path = getenv("PANNIERSHIM_CONTROL");
    const char *wanted = getenv("PANNIERSHIM_MARKER");
    if (!path || !wanted || strlen(wanted) >= sizeof marker) return;
    /* A process may write its title over its environment. */
    strcpy(marker, wanted);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) control = map;
}

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

/* Which of the database's files this is; 0: none. */
static uint64_t file_of(int fd) {
    char link[40], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    if (!strstr(path, marker)) return 0;
    if (ends_with(path, "-wal")) return 2;
    if (ends_with(path, "-shm")) return 3;
    return ends_with(path, ".db") ? 1 : 4;
}

/* Counts a call; its errno if it has to fail, else 0. Leaves errno as it is. */
static int fate(int fd, uint64_t kind) {
    if (!control) return 0;
    int kept = errno;
    uint64_t file = file_of(fd);
    errno = kept;
    if (!file) return 0;
    if (kind == WRITE) __atomic_add_fetch(&control->writes, 1, __ATOMIC_SEQ_CST);
    if (kind == SYNC && file == 2) __atomic_add_fetch(&control->wal_syncs, 1, __ATOMIC_SEQ_CST);
    if (kind == SYNC && control->stall_ms) {
        struct timespec stall = {control->stall_ms / 1000, (control->stall_ms % 1000) * 1000000};
        nanosleep(&stall, NULL);
        errno = kept;
    }
    if (!control->armed || !(control->kinds & kind)) return 0;
    uint64_t number = __atomic_add_fetch(&control->matched, 1, __ATOMIC_SEQ_CST);
    uint64_t chosen = control->countdown;
    if (!chosen || number < chosen || (number > chosen && !control->sticky)) return 0;
    if (number == chosen) {
        control->first_kind = kind;
        control->first_file = file;
    }
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    return (int)control->error;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Half of the bytes arrive, and the caller is told of an error. */
#define TORN(length) (control->torn ? (length) / 2 : 0)

ssize_t write(int fd, const void *bytes, size_t length) {
    static __typeof__(&write) real;
    if (!real) real = REAL(write);
    int error = fate(fd, WRITE);
    if (!error) return real(fd, bytes, length);
    if (TORN(length)) (void)!real(fd, bytes, TORN(length));
    errno = error;
    return -1;
}

#define POSITIONED_WRITE(name, offset_type)                                           \
    ssize_t name(int fd, const void *bytes, size_t length, offset_type offset) {      \
        static __typeof__(&name) real;                                                \
        if (!real) real = REAL(name);                                                 \
        int error = fate(fd, WRITE);                                                  \
        if (!error) return real(fd, bytes, length, offset);                           \
        if (TORN(length)) (void)!real(fd, bytes, TORN(length), offset);               \
        errno = error;                                                                \
        return -1;                                                                    \
    }

POSITIONED_WRITE(pwrite, off_t)
POSITIONED_WRITE(pwrite64, off64_t)

#define FAILING(name, kind, parameters, arguments) \
    int name parameters {                          \
        static __typeof__(&name) real;             \
        if (!real) real = REAL(name);              \
        int error = fate(fd, kind);                \
        if (!error) return real arguments;         \
        errno = error;                             \
        return -1;                                 \
    }

FAILING(fsync, SYNC, (int fd), (fd))
FAILING(fdatasync, SYNC, (int fd), (fd))
FAILING(ftruncate, RESIZE, (int fd, off_t length), (fd, length))
FAILING(ftruncate64, RESIZE, (int fd, off64_t length), (fd, length))
FAILING(fallocate, RESIZE, (int fd, int mode, off_t from, off_t length), (fd, mode, from, length))
FAILING(fallocate64, RESIZE, (int fd, int mode, off64_t from, off64_t length), (fd, mode, from, length))

ssize_t writev(int fd, const struct iovec *parts, int count) {
    static __typeof__(&writev) real;
    if (!real) real = REAL(writev);
    int error = fate(fd, WRITE);
    if (!error) return real(fd, parts, count);
    errno = error;
    return -1;
}

#define POSITIONED_WRITEV(name, offset_type)                                             \
    ssize_t name(int fd, const struct iovec *parts, int count, offset_type offset) {     \
        static __typeof__(&name) real;                                                   \
        if (!real) real = REAL(name);                                                    \
        int error = fate(fd, WRITE);                                                     \
        if (!error) return real(fd, parts, count, offset);                               \
        errno = error;                                                                   \
        return -1;                                                                       \
    }

POSITIONED_WRITEV(pwritev, off_t)
POSITIONED_WRITEV(pwritev64, off64_t)

/* These two answer with the error instead of setting errno. */
int posix_fallocate(int fd, off_t from, off_t length) {
    static __typeof__(&posix_fallocate) real;
    if (!real) real = REAL(posix_fallocate);
    int error = fate(fd, RESIZE);
    return error ? error : real(fd, from, length);
}

int posix_fallocate64(int fd, off64_t from, off64_t length) {
    static __typeof__(&posix_fallocate64) real;
    if (!real) real = REAL(posix_fallocate64);
    int error = fate(fd, RESIZE);
    return error ? error : real(fd, from, length);
}
