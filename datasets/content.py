"""Which files a decoded split was made of: by what they hold, not by names, sizes and times, which archives give to many."""

import os

from foundation.files import open_regular

WHOLE_BYTES, WHOLE_FILES = 256 << 20, 20_000  # up to so much is read as a whole, which takes about a second
SAMPLED_BYTES = 64 << 20  # of more files or bytes, evenly spaced files of so many bytes together
BLOCK = 1 << 20
ANY = 1 << 62  # bytes of a file that is read in part


def add_content(digest, root, files):
    """Add the content of files below `root` to a digest.

    Where that is quick, all bytes: such a digest is the same wherever the files lie and whenever they were written. To read
    a larger set at every start would take minutes; of that it adds the resolved root, all sizes and times, and the bytes of
    evenly spaced files.
    """
    sizes = [os.stat(file).st_size for file in files]
    if sum(sizes) <= WHOLE_BYTES and len(files) <= WHOLE_FILES:
        chosen, most = files, WHOLE_BYTES
    else:
        digest.update(os.fsencode(root.resolve()))
        for file in files:
            status = os.stat(file)
            digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
        stride = max(-(-sum(sizes) // SAMPLED_BYTES), -(-len(files) // WHOLE_FILES))
        chosen, most = files[::stride], SAMPLED_BYTES
    for file in chosen:
        _add_bytes(digest, file, most)


def _add_bytes(digest, file, most):
    """Add a file's size and at most so many of its bytes; of one that can't be read, why not."""
    digest.update(f"\0{os.stat(file).st_size}\0".encode())
    try:
        with open_regular(file, ANY) as stream:
            while most > 0 and (block := stream.read(min(BLOCK, most))):
                digest.update(block)
                most -= len(block)
    except OSError as error:
        digest.update(f"unreadable {error.errno}".encode())
