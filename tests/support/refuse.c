/* System calls that fail on purpose: by LD_PRELOAD, for support/refuse.rs.
 *
 * A call is refused for as long as a file of its name is in the folder WAYPOST_REFUSE, and only for paths
 * that contain the file's text (all, where it is empty). Each refusal adds the call's name and path to the
 * file `log` there. A call is one of
 *
 *   populate   madvise(..., MADV_POPULATE_WRITE)     EINVAL
 *   msync                                            EIO
 *   fsync      and fdatasync, of a file or folder    EIO
 *   read       of a file                             EIO
 *   ftruncate                                        EIO
 *   rename     from or to the path                   EIO
 *   unlink                                           EIO
 *   fallocate                                        EOPNOTSUPP
 *   socket6    socket(AF_INET6, ...)                 EAFNOSUPPORT
 *
 * The last two are made without the C library (by rustix), so the kernel refuses them, by a seccomp filter: from
 * the process's start, if the file is there by then, for all paths, to its end, and without a line in the log.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum { PATH = 4096 };

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* By system calls, for the functions below are the C library's to this file as well. */
static int open_in_folder(const char *name, int flags) {
    const char *folder = getenv("WAYPOST_REFUSE");
    char path[PATH];
    if (!folder) return -1;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static int is_asked_for(const char *call, char *part) {
    int file = open_in_folder(call, O_RDONLY);
    if (file < 0) return 0;
    long len = syscall(SYS_read, file, part, PATH - 1);
    syscall(SYS_close, file);
    part[len < 0 ? 0 : len] = 0;
    return len >= 0;
}

static int refused(const char *call, const char *path, const char *to, int error) {
    int before = errno;
    char part[PATH], line[2 * PATH];
    if (!is_asked_for(call, part) || !(strstr(path, part) || strstr(to, part))) {
        errno = before;
        return 0;
    }
    int log = open_in_folder("log", O_WRONLY | O_CREAT | O_APPEND);
    int len = snprintf(line, sizeof line, "%s %s\n", call, path);
    if (log < 0 || syscall(SYS_write, log, line, len) != len) abort();
    syscall(SYS_close, log);
    errno = error;
    return 1;
}

static int refused_file(const char *call, int file, int error) {
    int before = errno;
    char link[64], path[PATH];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t len = readlink(link, path, PATH - 1);
    path[len < 0 ? 0 : len] = 0;
    errno = before;
    return refused(call, path, path, error);
}

__attribute__((constructor)) static void start(void) {
    char part[PATH];
    int fallocate_too = is_asked_for("fallocate", part), socket6_too = is_asked_for("socket6", part);
    if (!fallocate_too && !socket6_too) return;
    /* A family is an int: the lower half of its 64 bits. */
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, fallocate_too ? SECCOMP_RET_ERRNO | EOPNOTSUPP : SECCOMP_RET_ALLOW),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, socket6_too ? SECCOMP_RET_ERRNO | EAFNOSUPPORT : SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) abort();
}

int madvise(void *address, size_t len, int advice) {
    if (advice == MADV_POPULATE_WRITE && refused("populate", "", "", EINVAL)) return -1;
    return REAL(madvise)(address, len, advice);
}

int msync(void *address, size_t len, int flags) {
    if (refused("msync", "", "", EIO)) return -1;
    return REAL(msync)(address, len, flags);
}

int fsync(int file) {
    if (refused_file("fsync", file, EIO)) return -1;
    return REAL(fsync)(file);
}

int fdatasync(int file) {
    if (refused_file("fsync", file, EIO)) return -1;
    return REAL(fdatasync)(file);
}

ssize_t read(int file, void *bytes, size_t len) {
    if (refused_file("read", file, EIO)) return -1;
    return REAL(read)(file, bytes, len);
}

int ftruncate64(int file, off64_t size) {
    if (refused_file("ftruncate", file, EIO)) return -1;
    return REAL(ftruncate64)(file, size);
}

int rename(const char *path, const char *to) {
    if (refused("rename", path, to, EIO)) return -1;
    return REAL(rename)(path, to);
}

int unlink(const char *path) {
    if (refused("unlink", path, path, EIO)) return -1;
    return REAL(unlink)(path);
}
