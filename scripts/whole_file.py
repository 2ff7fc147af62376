"""Writes a file completely or not at all, as the library does (src/formats/write_file.hpp)."""
import os
import pathlib
import stat
import tempfile


def write_whole(path, content):
    """Replaces the file at `path`, following links, once all of `content` (bytes) is written;
    devices and pipes are written directly."""
    path = pathlib.Path(path)
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        path.write_bytes(content)
        return
    target = path.resolve()
    if target.exists():
        with open(target, "r+b"):  # a file without write permission is not replaced
            mode = stat.S_IMODE(target.stat().st_mode)
    else:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    handle, name = tempfile.mkstemp(prefix=".rapt-", dir=target.parent)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
