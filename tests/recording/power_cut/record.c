/* Records what a process does to the files of a journal: for recorder.rs, by LD_PRELOAD.
 *
 * Every call that makes, renames, removes, changes or syncs a file or a folder below
 * WAYPOST_RECORD_BELOW is written down, one after another, in a file of its own for each process in the
 * folder WAYPOST_RECORD_INTO. With each call go the bytes of the segments in WAYPOST_RECORD_JOURNAL as the
 * page cache has them, read before a sync (what is there then is on the disk when it returns) and after
 * anything else. A thread does the same every few milliseconds, because the kernel writes a mapping's pages
 * whenever it likes. One lock orders all of it; appending to a mapping takes none, and goes on.
 *
 * An event, little-endian: kind u8, two texts, number of snapshots u32, the snapshots.
 * A text: length u32, bytes. A snapshot: path (text), size u64, bytes without the zeros at the end (text).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 5, PATH = 4096 };

enum kind {
    CREATED = 'c',
    FOLDER_MADE = 'm',
    RENAMED = 'r',
    REMOVED = 'u',
    SYNCED = 's',
    MAPPING_SYNCED = 'y', /* the second text: up to where, a decimal number */
    FOLDER_SYNCED = 'd',
    CHANGED = 't', /* or another moment */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *below, *journal;
static int out = -1;

/* What one event is put together in; under the lock. */
static char *event;
static size_t used, room;

static void put(const void *bytes, size_t len) {
    if (used + len > room) {
        room = (used + len) * 2;
        event = realloc(event, room);
        if (!event) abort();
    }
    memcpy(event + used, bytes, len);
    used += len;
}

static void put_text(const char *bytes, size_t len) {
    uint32_t size = (uint32_t)len;
    put(&size, sizeof size);
    put(bytes, len);
}

/* Every segment of the journal's folder. */
static uint32_t put_snapshots(void) {
    static char bytes[1 << 20];
    uint32_t count = 0;
    DIR *folder = opendir(journal);
    if (!folder) return 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        const char *kind = strrchr(entry->d_name, '.');
        if (!kind || (strcmp(kind, ".open") && strcmp(kind, ".sealed"))) continue;
        char path[PATH];
        snprintf(path, sizeof path, "%s/%s", journal, entry->d_name);
        int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        if (file < 0) continue;
        ssize_t size = read(file, bytes, sizeof bytes);
        close(file);
        if (size < 0) abort();
        uint64_t whole = (uint64_t)size;
        while (size > 0 && !bytes[size - 1]) size--;
        put_text(path, strlen(path));
        put(&whole, sizeof whole);
        put_text(bytes, (size_t)size);
        count++;
    }
    closedir(folder);
    return count;
}

static void begin(void) {
    used = 0;
}

static void snapshots(void) {
    size_t at = used;
    uint32_t count = 0;
    put(&count, sizeof count);
    count = put_snapshots();
    memcpy(event + at, &count, sizeof count);
}

/* Writes an event whose snapshots are taken already, behind its head. */
static void end(char kind, const char *path, const char *to) {
    char head[2 * PATH + 16];
    uint32_t lens[2] = {(uint32_t)strlen(path), (uint32_t)strlen(to)};
    size_t len = 0;
    head[len++] = kind;
    memcpy(head + len, &lens[0], 4), len += 4;
    memcpy(head + len, path, lens[0]), len += lens[0];
    memcpy(head + len, &lens[1], 4), len += 4;
    memcpy(head + len, to, lens[1]), len += lens[1];
    if (write(out, head, len) != (ssize_t)len || write(out, event, used) != (ssize_t)used) abort();
}

static void record(char kind, const char *path, const char *to) {
    begin();
    snapshots();
    end(kind, path, to);
}

static int is_ours(const char *path) {
    return out >= 0 && path[0] == '/' && !strncmp(path, below, strlen(below));
}

static int path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t len = readlink(link, path, PATH - 1);
    if (len < 0) return 0;
    path[len] = 0;
    return is_ours(path);
}

/* The test asks for it by a file. */
static int is_to_be_killed(void) {
    char path[PATH];
    snprintf(path, sizeof path, "%s/kill", getenv("WAYPOST_RECORD_INTO"));
    return !syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static void *tick(void *unused) {
    for (;;) {
        struct timespec pause = {0, TICK_MS * 1000000};
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&lock);
        record(CHANGED, "", "");
        /* Ends as by kill -9, but between two events: none is done and not written down. */
        if (is_to_be_killed()) kill(getpid(), SIGKILL);
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

__attribute__((constructor)) static void start(void) {
    const char *into = getenv("WAYPOST_RECORD_INTO");
    below = getenv("WAYPOST_RECORD_BELOW");
    journal = getenv("WAYPOST_RECORD_JOURNAL");
    if (!into || !below || !journal) return;
    for (int number = 0; out < 0 && number < 1000; number++) {
        char path[PATH];
        snprintf(path, sizeof path, "%s/%03d", into, number);
        out = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    }
    pthread_t thread;
    if (out < 0 || pthread_create(&thread, NULL, tick, NULL)) abort();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int synced(int file, int (*real)(int)) {
    char path[PATH];
    struct stat is;
    if (!path_of(file, path) || fstat(file, &is)) return real(file);
    pthread_mutex_lock(&lock);
    begin();
    snapshots();
    int result = real(file);
    if (!result) end(S_ISDIR(is.st_mode) ? FOLDER_SYNCED : SYNCED, path, "");
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int file) { return synced(file, REAL(fsync)); }
int fdatasync(int file) { return synced(file, REAL(fdatasync)); }

int msync(void *address, size_t len, int flags) {
    char line[PATH + 128], path[PATH] = "", up_to[24];
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        int at = 0;
        sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &from, &to, &at);
        if (from <= (unsigned long)address && (unsigned long)address < to) {
            line[strcspn(line, "\n")] = 0;
            snprintf(path, sizeof path, "%s", line + at);
            snprintf(up_to, sizeof up_to, "%lu", (unsigned long)address + len - from);
        }
    }
    if (maps) fclose(maps);
    if (!is_ours(path) || !(flags & MS_SYNC)) return REAL(msync)(address, len, flags);
    pthread_mutex_lock(&lock);
    begin();
    snapshots();
    int result = REAL(msync)(address, len, flags);
    if (!result) end(MAPPING_SYNCED, path, up_to);
    pthread_mutex_unlock(&lock);
    return result;
}

static int opened(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    struct stat is;
    if (!(flags & O_CREAT) || !is_ours(path)) return real(path, flags, mode);
    pthread_mutex_lock(&lock);
    int is_new = stat(path, &is);
    int file = real(path, flags, mode);
    if (file >= 0) record(is_new ? CREATED : CHANGED, path, "");
    pthread_mutex_unlock(&lock);
    return file;
}

#define OPEN(name)                                        \
    int name(const char *path, int flags, ...) {          \
        va_list rest;                                     \
        va_start(rest, flags);                            \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                     \
        return opened(REAL(name), path, flags, mode);     \
    }
OPEN(open)
OPEN(open64)

int rename(const char *path, const char *to) {
    if (!is_ours(path)) return REAL(rename)(path, to);
    pthread_mutex_lock(&lock);
    int result = REAL(rename)(path, to);
    if (!result) record(RENAMED, path, to);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    if (!is_ours(path)) return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    int result = REAL(unlink)(path);
    if (!result) record(REMOVED, path, "");
    pthread_mutex_unlock(&lock);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    if (!is_ours(path)) return REAL(mkdir)(path, mode);
    pthread_mutex_lock(&lock);
    int result = REAL(mkdir)(path, mode);
    if (!result) record(FOLDER_MADE, path, "");
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int file, off64_t size) {
    char path[PATH];
    if (!path_of(file, path)) return REAL(ftruncate64)(file, size);
    pthread_mutex_lock(&lock);
    record(CHANGED, path, "");
    int result = REAL(ftruncate64)(file, size);
    record(CHANGED, path, "");
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t pwrite64(int file, const void *bytes, size_t len, off64_t at) {
    char path[PATH];
    if (!path_of(file, path) || strncmp(path, journal, strlen(journal))) return REAL(pwrite64)(file, bytes, len, at);
    pthread_mutex_lock(&lock);
    ssize_t result = REAL(pwrite64)(file, bytes, len, at);
    record(CHANGED, path, "");
    pthread_mutex_unlock(&lock);
    return result;
}
