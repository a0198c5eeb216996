"""A FUSE file system of one folder: the files of another, and no answers while it is told to hang.

python3 hanging_share.py MOUNTED BEHIND, as root. It speaks the kernel's protocol
(linux/fuse.h, version 7.31) over /dev/fuse and caches nothing. While BEHIND/.hang is there with
"read" in it, reads are not answered, with anything else nothing is; once it is gone, all are.
"""
import ctypes
import os
import stat
import struct
import sys
import threading
import time

MOUNTED, BEHIND = sys.argv[1:3]
LOOKUP, FORGET, GETATTR, OPEN, READ, INIT, OPENDIR, READDIR = 1, 2, 3, 14, 15, 26, 27, 28
STATFS, RELEASE, FLUSH, RELEASEDIR, BATCH_FORGET, INTERRUPT = 17, 18, 25, 29, 42, 36

device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"share", MOUNTED.encode(), b"fuse.share", 0, options) != 0:
    sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")

names = {1: ""}


def node(name):
    for number, known in names.items():
        if known == name:
            return number
    names[len(names) + 1] = name
    return len(names)


def attributes(number):
    found = os.stat(os.path.join(BEHIND, names[number]))
    times = [found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns]
    return struct.pack(
        "<6Q10I", number, found.st_size, found.st_blocks, *[t // 10**9 for t in times],
        *[t % 10**9 for t in times], found.st_mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, number, body):
    if opcode == INIT:
        major, minor, ahead, _ = struct.unpack_from("<4I", body)
        return struct.pack("<4I2H4I", 7, 31, ahead, 0, 4, 3, 1 << 16, 1, 0, 0) + bytes(24)
    if opcode == LOOKUP:
        name = body.rstrip(b"\0").decode()
        os.stat(os.path.join(BEHIND, name))
        number = node(name)
        return struct.pack("<4Q2I", number, 0, 0, 0, 0, 0) + attributes(number)
    if opcode == GETATTR:
        return struct.pack("<Q2I", 0, 0, 0) + attributes(number)
    if opcode in (OPEN, OPENDIR):
        return struct.pack("<Q2I", number, 1, 0)
    if opcode == READ:
        _, offset, size = struct.unpack_from("<QQI", body)
        with open(os.path.join(BEHIND, names[number]), "rb") as file:
            file.seek(offset)
            return file.read(size)
    if opcode == STATFS:
        return bytes(80)
    if opcode in (RELEASE, FLUSH, RELEASEDIR, READDIR):
        return b""
    raise OSError(38, "not implemented")


def hangs(opcode):
    try:
        with open(os.path.join(BEHIND, ".hang"), encoding="ascii") as file:
            return file.read() != "read" or opcode == READ
    except FileNotFoundError:
        return False


def serve(request):
    length, opcode, unique, number = struct.unpack_from("<2I2Q", request)
    if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
        return
    while opcode != INIT and hangs(opcode):
        time.sleep(0.05)
    try:
        body, error = answer(opcode, number, request[40:length]), 0
    except OSError as failed:
        body, error = b"", -failed.errno
    try:
        os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
    except OSError:
        pass  # the process that asked is gone


while True:
    try:
        message = os.read(device, 1 << 20)
    except OSError:
        break
    threading.Thread(target=serve, args=(message,), daemon=True).start()
